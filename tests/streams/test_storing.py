"""What a decision refers to is stored before it is committed; a store that is away holds up who needs it."""

import random
import threading
from pathlib import Path

import pytest
from aiokafka.structs import TopicPartition

from segue import App, Task, tool, workflow
from segue.processors.payloads.blob import whole
from segue.processors.stages.conduct import Conduct
from segue.streams.engine.outbox import Outbox
from segue.streams.engine.pure_runner import Partition, PureStage
from segue.streams.object_store import storing
from segue.streams.object_store.store import Objects
from segue.streams.object_store.storing import NotStored, Storing
from segue.streams.settings import Settings
from segue.streams.state.store import Store
from segue.topics.errors import Retryable
from segue.topics.flow import Decision, Publish, State, StoredObject
from segue.topics.records import CallTool, Status, Submitted
from tests.builders import received

NOW_MS = 1_790_000_000_000


class Watched(Objects):
    """A store that may be away, and counts what it was given."""

    away = False

    def __init__(self, folder: Path) -> None:
        super().__init__(Settings(object_store_url=str(folder), partitions=1))
        self.given: list[str] = []

    def keep(self, stored: StoredObject) -> None:
        self.given.append(stored.object)
        if self.away:
            raise Retryable("the object store is not there")
        super().keep(stored)


@tool
async def size(text: str) -> int:
    return len(text)


@workflow
async def measures(task: Task, text: str) -> int:
    return await task.tool(size, text * 1_000)


APP = App("measures", workflows=[measures], tools=[size])


class Running:
    """Stage `conduct` on one partition, as its runner has it."""

    def __init__(self, folder: Path) -> None:
        self.objects = Watched(folder / "objects")
        self.store = Store(folder / "state")
        changelog = TopicPartition("conduct-state", 0)
        stage = PureStage("conduct", self._make)
        self.storing = Storing(self.objects)
        self.partition = Partition(stage, self.store, changelog, None, None, self.storing)

    def _make(self, state: State) -> Conduct:
        return Conduct(APP, state, random.Random, references=self.objects)

    async def begin(self, task: str, text: str) -> list[Publish]:
        begun = Submitted(task=task, workflow="measures", version=1, input=text, at_ms=NOW_MS)
        outbox = Outbox(Settings(partitions=1))
        await self.partition.handle(received("events", begun), outbox, NOW_MS)
        return outbox.published

    def rested(self) -> None:
        """As if the time for which the store is left alone had passed."""
        vars(self.storing)["_rests_until_s"] = 0.0

    async def tick(self) -> list[Publish]:
        outbox = Outbox(Settings(partitions=1))
        while await self.partition.tick(outbox, NOW_MS):
            pass
        return outbox.published


def told(published: list[Publish]) -> list[str]:
    """What was published, by its topic, and the state in a status."""
    return [each.value.state if isinstance(each.value, Status) else each.topic for each in published]


async def test_what_a_call_refers_to_is_stored_before_it_is_published(tmp_path: Path) -> None:
    stage = Running(tmp_path)
    called, _ = await stage.begin("t", "x" * 1_000)
    assert isinstance(called.value, CallTool)
    reference = called.value.arguments["text"]
    assert stage.objects.given == [reference["object"]]
    task_objects = stage.objects.of_task("t")
    assert await whole(reference, task_objects) == "x" * 1_000_000


async def test_a_task_whose_values_can_not_be_stored_is_parked_and_goes_on_by_itself(tmp_path: Path) -> None:
    """Others go on meanwhile, and the store is left alone for a while."""
    stage = Running(tmp_path)
    stage.objects.away = True
    assert told(await stage.begin("large", "x" * 1_000)) == ["dead-letters", "parked"]
    assert told(await stage.begin("small", "x")) == ["tool-calls", "running"]
    assert told(await stage.begin("large-2", "y" * 1_000)) == ["dead-letters", "parked"]
    assert len(stage.objects.given) == 1
    assert told(await stage.tick()) == []
    stage.rested()
    assert told(await stage.tick()) == ["parked", "parked"]
    assert len(stage.objects.given) == 2
    stage.objects.away = False
    stage.rested()
    assert sorted(told(await stage.tick())) == ["running", "running", "tool-calls", "tool-calls"]
    assert told(await stage.tick()) == []


async def test_an_object_that_was_stored_is_not_stored_again_for_a_while(tmp_path: Path) -> None:
    objects = Watched(tmp_path)
    stored = StoredObject(objects.reference("t", None, b"text", "text/plain").object, None, None, b"text")
    decision = Decision([Publish("tool-calls", "t", None, objects=(stored, stored))])
    keeping = Storing(objects)
    await keeping.store(decision)
    await keeping.store(decision)
    assert objects.given == [stored.object]
    objects.kept_s = 0
    await Storing(objects).store(decision)
    assert len(objects.given) == 3  # it may have been removed since


async def test_a_store_that_hangs_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    release = threading.Event()
    objects = Watched(tmp_path)

    def hang(_: StoredObject) -> None:
        release.wait()

    monkeypatch.setattr(objects, "keep", hang)
    monkeypatch.setattr(storing, "STORED_S_MAX", 0.01)
    stored = StoredObject(f"0/@t/{'0' * 64}", None, None, b"text")
    try:
        with pytest.raises(NotStored, match="did not answer within"):
            await Storing(objects).store(Decision([Publish("tool-calls", "t", None, objects=(stored,))]))
    finally:
        release.set()
