"""What a runner does about what a stage can't process: put aside, and the stage goes on."""

import asyncio
from typing import Any

import pytest
from aiokafka.structs import TopicPartition

from segue.processors.app.app import App
from segue.streams.engine.effect_runner import Begun, EffectRunner, EffectStage
from segue.streams.engine.outbox import Outbox
from segue.streams.engine.pure_runner import Partition, PureStage
from segue.streams.observability.metrics import Metrics
from segue.streams.settings import Settings
from segue.streams.state.disk_space import StateFailed
from segue.topics import codec
from segue.topics.flow import Decision, Publish, Received, Stage, State
from segue.topics.records import PutAside, StepFailed
from tests.builders import call_tool

SETTINGS = Settings()
RECORD = Received("tool-calls", 0, 7, b"t", codec.encode(call_tool(task="t")), (), 0)


class Faulty(Stage):
    """A stage that raises at each record and each tick. With `knows` it says what to do about a tick."""

    raised: BaseException = RuntimeError("a bug")

    def __init__(self, _: State) -> None:
        self.due: int | None = 0

    def handle(self, record: Received, now_ms: int) -> Decision:
        raise self.raised

    def due_ms(self) -> int | None:
        return self.due

    def tick(self, now_ms: int) -> Decision:
        raise self.raised


class Knowing(Faulty):
    def put_aside(self, record: Received | None, reason: str, now_ms: int) -> Decision | None:
        self.due = None
        told = PutAside(task="t", id=reason, problem=failed("x"), at_ms=now_ms)
        return Decision([Publish("events", "t", told)])


class Lost(Knowing):
    def put_aside(self, record: Received | None, reason: str, now_ms: int) -> Decision | None:
        raise RuntimeError("another bug")


def failed(message: str) -> Any:
    from segue.topics.records import Problem

    return Problem(type="X", message=message)


def partition(stage: type[Faulty], monkeypatch: pytest.MonkeyPatch, raised: BaseException) -> Partition:
    monkeypatch.setattr(stage, "raised", raised)
    return Partition(PureStage("recover", stage), None, None, None)


def handled(stage: type[Faulty], monkeypatch: pytest.MonkeyPatch, raised: BaseException) -> list[Publish]:
    outbox = Outbox(SETTINGS)
    asyncio.run(partition(stage, monkeypatch, raised).handle(RECORD, outbox, 5))
    return outbox.published


@pytest.mark.parametrize("raised", [RuntimeError("a bug"), SystemExit("a bug"), GeneratorExit("a bug")])
def test_a_record_is_put_aside_and_its_task_told(
    raised: BaseException, monkeypatch: pytest.MonkeyPatch
) -> None:
    letter, told = handled(Faulty, monkeypatch, raised)
    assert (letter.topic, letter.value) == ("dead-letters", RECORD.value)
    assert isinstance(told.value, StepFailed)
    assert (told.value.task, told.value.step, told.value.fingerprint) == ("t", 0, call_tool().fingerprint)
    assert f"{type(raised).__name__}: a bug" in told.value.problem.message


def test_what_fails_at_that_too_is_a_dead_letter(monkeypatch: pytest.MonkeyPatch) -> None:
    assert [each.topic for each in handled(Lost, monkeypatch, RuntimeError("a bug"))] == ["dead-letters"]


def test_a_disk_that_fails_is_no_fault_of_the_record(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(StateFailed):
        handled(Faulty, monkeypatch, StateFailed("full"))


def test_a_tick_is_guarded_like_a_record(monkeypatch: pytest.MonkeyPatch) -> None:
    outbox = Outbox(SETTINGS)
    served = partition(Knowing, monkeypatch, SystemExit("a bug"))
    assert asyncio.run(served.tick(outbox, 5))
    assert [each.topic for each in outbox.published] == ["events"]
    assert not asyncio.run(served.tick(outbox, 5))


def test_a_tick_that_is_about_nothing_known_ends_the_run(monkeypatch: pytest.MonkeyPatch) -> None:
    served = partition(Faulty, monkeypatch, RuntimeError("a bug"))
    with pytest.raises(RuntimeError, match="a bug"):
        asyncio.run(served.tick(Outbox(SETTINGS), 5))


class Calls:
    """Those of an effect stage whose call can't be begun, or raises what is no `Exception`."""

    executor: Any = None

    def __init__(self, raised: BaseException) -> None:
        self.raised = raised

    def job(self, record: Received, owned: Any) -> Any:
        from segue.streams.calls.calls import Job

        if isinstance(self.raised, LookupError):
            raise self.raised
        return Job("t/0/1", self.perform, lambda problem: Decision())

    async def perform(self) -> Decision:
        raise self.raised


def calling(raised: BaseException) -> Any:
    """A runner, whose inside is looked at."""
    stage = EffectStage("tool", Calls(raised), 1)
    return EffectRunner(stage, SETTINGS, "w", Metrics(App("x", workflows=[])))


@pytest.mark.parametrize("raised", [LookupError("a bug"), GeneratorExit("a bug"), SystemExit("a bug")])
async def test_a_call_that_ends_in_no_way_is_put_aside(raised: BaseException) -> None:
    runner = calling(raised)
    runner._begin(TopicPartition("tool-calls", 0), RECORD)
    async with asyncio.timeout(5):
        await runner._some_finished.wait()
    begun: list[Begun] = runner._finished
    assert begun[0].decision is not None
    letter, told = begun[0].decision.publish
    assert letter.topic == "dead-letters"
    assert isinstance(told.value, StepFailed)
