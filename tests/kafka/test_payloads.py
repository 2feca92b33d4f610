"""Large and secret payloads, end to end: a real broker, workers in processes of their own."""

import asyncio
import hashlib
import json
import sys
from collections.abc import AsyncGenerator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest_asyncio
from pydantic import TypeAdapter

from segue.processors.payloads.blob import Blob
from segue.streams.client.client import Client
from segue.streams.client.redrive import Copy, Range, back_to_its_topic, feed, records_of
from segue.streams.kafka.broker_clock import now_ms
from segue.streams.kafka.provisioning import provision
from segue.streams.object_store.expiry import sweep
from segue.streams.object_store.store import Objects
from segue.streams.settings import Settings
from segue.topics import codec
from segue.topics.contracts import ALL, LOG_TOPICS
from segue.topics.envelope import is_sealed, unpack
from segue.topics.errors import UnknownName
from segue.topics.flow import Received
from segue.topics.records import Status, TaskRequest
from tests.kafka.conftest import worker_environment
from tests.kafka.payloads.app import MB, piece
from tests.streams.keyfiles import key_file

ROOT = Path(__file__).parents[2]
PATIENCE_S = 60.0
SECRET = "the-fox-sleeps-in-the-mill"


@dataclass
class Place:
    """A client, and workers that are started and killed."""

    settings: Settings
    client: Client
    folder: Path
    workers: list[asyncio.subprocess.Process] = field(default_factory=list[asyncio.subprocess.Process])

    async def work(self, **env: str) -> asyncio.subprocess.Process:
        variables = worker_environment(self.settings) | {"FILM": str(self.folder)}
        if self.settings.encryption_keys is not None:
            variables["SEGUE_ENCRYPTION_KEYS"] = str(self.settings.encryption_keys)
        command = (sys.executable, "-m", "segue.streams.cli", "worker", "tests/kafka/payloads")
        worker = await asyncio.create_subprocess_exec(
            *command, env=variables | env, cwd=ROOT, stdout=asyncio.subprocess.DEVNULL
        )
        self.workers.append(worker)
        return worker

    async def end(self) -> None:
        for worker in self.workers:
            if worker.returncode is None:
                worker.kill()
                await worker.wait()

    async def waiting(self, task: str) -> Status:
        async with asyncio.timeout(PATIENCE_S):
            while True:
                try:
                    status = await self.client.status(task)
                except UnknownName:
                    status = None
                if status is not None and status.state == "waiting":
                    return status
                await asyncio.sleep(0.1)


@pytest_asyncio.fixture
async def place(settings: Settings, tmp_path: Path) -> AsyncGenerator[Place]:
    await provision(settings)
    async with Client(settings) as client:
        there = Place(settings, client, tmp_path)
        yield there
        await there.end()


@pytest_asyncio.fixture
async def vault(settings: Settings, tmp_path: Path) -> AsyncGenerator[Place]:
    """With keys, one of them a tenant's."""
    keys = key_file(tmp_path / "keys.json", "one", acme="acme-1")
    settings = settings.model_copy(update={"encryption_keys": keys})
    await provision(settings)
    async with Client(settings) as client:
        there = Place(settings, client, tmp_path)
        yield there
        await there.end()


def digest(size_mb: int) -> str:
    whole = hashlib.sha256()
    for number in range(size_mb):
        whole.update(piece(number))
    return whole.hexdigest()


async def test_a_film_of_100_mb_survives_its_worker_and_is_never_in_memory(vault: Place) -> None:
    """Made by a tool, whose worker is killed in the middle, passed on to another, and the task's result."""
    first = await vault.work()
    task = await vault.client.start("filming", 100)
    async with asyncio.timeout(PATIENCE_S):
        while not list(vault.folder.glob("begun-*")):  # noqa: ASYNC110 - told by a file
            await asyncio.sleep(0.05)
    first.kill()
    (vault.folder / "go").touch()
    await vault.work()
    result = await vault.client.result(task, PATIENCE_S)
    assert result.outcome == "succeeded", result.problem
    film, seen, grown_mb = result.result
    blob = TypeAdapter(Blob).validate_python(film)
    expected = digest(100)
    assert (blob.size_bytes, blob.sha256, seen, blob.key) == (100 * MB, expected, expected, "one")
    assert grown_mb < 30
    downloaded = hashlib.sha256()
    async for chunk in vault.client.download(blob):
        downloaded.update(chunk)
    assert downloaded.hexdigest() == expected
    journal = [r for r in await vault.client.history(task) if len(r.value or b"") > 2_000]
    assert journal == []


async def test_a_text_of_20_mb_passes_through_a_workflow_by_reference(place: Place) -> None:
    """Also where it is the input: the client keeps it, the tool gets it."""
    await place.work()
    made = await place.client.start("publishing", 20)
    given = await place.client.start("measuring", "y" * 20 * MB)
    text, size = [await place.client.result(task, PATIENCE_S) for task in (made, given)]
    assert text.outcome == "succeeded", text.problem
    assert text.result == "x" * 20 * MB
    assert (size.outcome, size.result) == ("succeeded", 20 * MB)
    assert [r for r in await place.client.history(made) if len(r.value or b"") > 2_000] == []


async def test_a_changed_object_fails_its_step_and_one_that_is_gone_too(place: Place) -> None:
    await place.work()
    changed, gone = [
        await place.client.upload(task, b"y" * 2 * MB, "application/json") for task in ("changed", "gone")
    ]
    file = Path(place.settings.objects_root) / f"{place.settings.topic_prefix}objects" / changed.object
    file.write_bytes(b"z" + file.read_bytes()[1:])
    Objects(place.settings).remove("gone")
    for task, blob in (("changed", changed), ("gone", gone)):
        value = TypeAdapter(Blob).dump_python(replace(blob, kind="value"))
        request = TaskRequest(id=task, workflow="measuring", input=value, by_reference=True)
        copy = Copy("tasks", None, task.encode(), codec.encode(request), ())
        await feed(place.settings, [copy])
    wrong, missing = [await place.client.result(task, PATIENCE_S) for task in ("changed", "gone")]
    assert (wrong.outcome, missing.outcome) == ("failed", "failed")
    assert wrong.problem is not None
    assert "its size or sha256 differs" in wrong.problem.message
    assert missing.problem is not None
    assert "it has expired" in missing.problem.message


# ---------------------------------------------------------------- secrets


async def keep(place: Place, task: str, tenant: str | None = None) -> None:
    """A task that leaves the secret everywhere: in calls, failures, questions, answers, results."""
    request: dict[str, Any] = {"id": task, "workflow": "keeping", "input": SECRET, "tenant": tenant}
    copy = Copy("tasks", None, task.encode(), json.dumps(request).encode(), (codec.CONTENT_TYPE,))
    await feed(place.settings, [copy])
    await place.waiting(task)
    await place.client.answer(task, f"{SECRET}, I do")
    await place.client.signal(task, "go on", SECRET)
    result = await place.client.result(task, PATIENCE_S)
    assert result.result == f"{SECRET} and {SECRET}, I do"


def places_of_the_secret(place: Place, broker: Settings) -> set[str]:
    """The test's topics on the broker's disk, and kinds of local files, that have it in clear."""
    found: set[str] = set()
    for topic in (broker.state_dir / "broker").rglob(f"{place.settings.topic_prefix}*"):
        if any(SECRET.encode() in segment.read_bytes() for segment in topic.glob("*.log")):
            found.add(topic.name.removeprefix(place.settings.topic_prefix).rpartition("-")[0])
    for kind, root in (("state", place.settings.state_dir), ("objects", Path(place.settings.objects_root))):
        if any(SECRET.encode() in file.read_bytes() for file in root.rglob("*") if file.is_file()):
            found.add(kind)
    return found


async def test_without_keys_the_secret_is_found_wherever_it_went(place: Place, broker: Settings) -> None:
    """So that the test below can fail."""
    await place.work()
    await keep(place, "t")
    assert places_of_the_secret(place, broker) == {
        *("tasks", "signals", "events", "tool-calls", "failures", "dead-letters", "questions", "results"),
        *("status", "conduct-state", "state", "objects"),
    }


async def test_with_keys_the_secret_is_nowhere_in_clear(vault: Place, broker: Settings) -> None:
    await vault.work()
    await keep(vault, "t")
    await keep(vault, "u", "acme")
    assert places_of_the_secret(vault, broker) == set()
    records = [r for topic in LOG_TOPICS for r in await records_of(vault.settings, Range(topic))]
    assert any(SECRET.encode() in (record.value or b"") for record in records)


async def test_without_its_key_a_tenants_task_can_not_be_read_again_and_others_can(vault: Place) -> None:
    await vault.work()
    await keep(vault, "theirs", "acme")
    await keep(vault, "ours")
    shredded = key_file(vault.folder / "shredded.json", "one")
    settings = vault.settings.model_copy(update={"encryption_keys": shredded})
    for topic in (*LOG_TOPICS, "signals"):
        records = await records_of(settings, Range(topic))
        readable = {(r.key or b"").decode() for r in records if not is_sealed(r.value)}
        assert readable <= {"ours"}, topic


async def test_what_others_send_without_the_tenant_is_sealed_for_it_by_the_first_stage(vault: Place) -> None:
    """Another producer signals and answers a tenant's task, in clear and without a header."""
    signal = {"kind": "signal", "task": "t", "name": "go on", "value": SECRET}
    await send_in_clear(vault, "tasks", {"id": "t", "workflow": "keeping", "input": SECRET, "tenant": "acme"})
    await send_in_clear(vault, "signals", signal)
    await vault.work()
    [question] = (await vault.waiting("t")).questions
    answer = {"kind": "answer", "task": "t", "step": question.step, "value": SECRET}
    await send_in_clear(vault, "signals", answer)
    assert (await vault.client.result("t", PATIENCE_S)).result == f"{SECRET} and {SECRET}"
    await send_in_clear(vault, "signals", signal | {"id": "late"})
    async with asyncio.timeout(PATIENCE_S):
        while len(await records_of(vault.settings, Range("dead-letters"))) < 2:  # noqa: ASYNC110
            await asyncio.sleep(0.1)
    shredded = vault.settings.model_copy(
        update={"encryption_keys": key_file(vault.folder / "shredded.json", "one")}
    )
    kept = {topic.name for topic in ALL} - {"tasks", "signals"}
    records = {topic: await records_of(shredded, Range(topic)) for topic in kept}
    assert [
        t for t, found in records.items() if any(SECRET.encode() in (r.value or b"") for r in found)
    ] == []
    letters = records["dead-letters"]
    assert all(key_id_of(letter) == "acme-1" for letter in letters)


async def send_in_clear(place: Place, topic: str, value: dict[str, Any]) -> None:
    clear = place.settings.model_copy(update={"encryption_keys": None})
    await feed(clear, [Copy(topic, None, b"t", json.dumps(value).encode(), ())])


def key_id_of(record: Received) -> str | None:
    envelope = unpack(record.value or b"")
    return envelope.key_id if envelope is not None else None


async def test_what_a_worker_has_no_key_for_is_a_dead_letter_until_it_gets_it(vault: Place) -> None:
    without = key_file(vault.folder / "without.json", "another")
    await vault.work(SEGUE_ENCRYPTION_KEYS=str(without))
    await vault.client.start("measuring", "a text", "t")
    blind = vault.settings.model_copy(update={"encryption_keys": without})
    async with asyncio.timeout(PATIENCE_S):
        while not (letters := await records_of(blind, Range("dead-letters"))):  # noqa: ASYNC110
            await asyncio.sleep(0.1)
    [letter] = letters
    assert dict(letter.headers)["segue-reason"] == (
        b"encrypted with key 'one', which is not in SEGUE_ENCRYPTION_KEYS: add it and redrive"
    )
    key_file(without, "one", "another")
    assert await feed(blind, [back_to_its_topic(letter)]) == 1
    async with Client(blind) as client:
        result = await client.result("t", PATIENCE_S)
    assert result.result == len("a text")


# ---------------------------------------------------------------- the end of life


async def test_objects_expire_after_their_task_and_never_before(place: Place) -> None:
    settings = place.settings.model_copy(update={"object_retention_s": 1})
    objects = Objects(settings)
    await put_status(settings, "open", "running")
    await put_status(settings, "parent", "waiting")
    for task in ("open", "parent/1", "ended", "orphan"):
        await objects.put(task, None, b"bytes", "text/plain")
    await asyncio.sleep(1.5)
    await put_status(settings, "ended", "succeeded")
    await objects.put("new", None, b"bytes", "text/plain")
    partitions = range(settings.partitions)
    assert await sweep(settings, objects, partitions) == 1
    assert kept(objects, settings) == {"open", "parent/1", "ended", "new"}
    await put_status(settings, "parent", "failed")
    assert await sweep(settings, objects, partitions) == 0
    await asyncio.sleep(1.5)
    assert await sweep(settings, objects, partitions) == 3
    assert kept(objects, settings) == {"open"}


def kept(objects: Objects, settings: Settings) -> set[str]:
    return {task for number in range(settings.partitions) for task, _ in objects.tasks(number)}


async def put_status(settings: Settings, task: str, state: str) -> None:
    fields = {"task": task, "workflow": "w", "version": 1, "state": state, "partition": 0, "offset": 0}
    status = Status.model_validate(fields | {"started_ms": 0, "at_ms": now_ms()})
    await feed(settings, [Copy("status", None, task.encode(), codec.encode(status), (codec.CONTENT_TYPE,))])


async def test_a_worker_removes_what_has_expired(place: Place) -> None:
    objects = Objects(place.settings)
    await objects.put("orphan", None, b"bytes", "text/plain")
    await place.work(SEGUE_OBJECT_RETENTION_S="1")
    async with asyncio.timeout(PATIENCE_S):
        while kept(objects, place.settings):  # noqa: ASYNC110 - a worker removes them
            await asyncio.sleep(0.1)
