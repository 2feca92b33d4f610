"""20,000 bad records among good ones, through a whole worker: none stops it, and none is lost."""

import asyncio
import logging
import re
import struct
from collections import Counter
from collections.abc import AsyncGenerator, Iterable, Iterator
from contextlib import asynccontextmanager
from itertools import count, islice
from time import monotonic
from typing import Any

import pytest
from aiokafka import AIOKafkaProducer
from aiokafka.record.util import calc_crc32c

from segue.streams.client.redrive import Range, records_of
from segue.streams.client.topic_lag import survey
from segue.streams.engine.worker import Worker
from segue.streams.kafka.provisioning import provision
from segue.streams.settings import Settings
from segue.topics import codec
from segue.topics.flow import Received
from segue.topics.records import Answered, CancelRequested, Rejected, Result, SignalReceived
from tests.corpus import APP
from tests.poison import NAME_TO_SPOIL, Bad, poison

BAD = {"tasks": 14_000, "signals": 6_000}
"""What the outside can write."""

INTERNAL = {
    "events": 600,
    "model-calls": 150,
    "tool-calls": 300,
    "checks": 300,
    "failures": 300,
    "delays": 300,
}
"""What only workers write, if they have no bugs. All 20,000 of these are tried in memory."""

GOOD_EVERY = 100
RUNS = ("sequence", "fans_out", "gathers_failures")
COMPRESSIONS = (None, "gzip", "snappy", "lz4", "zstd")
IN_A_BATCH = 60
QUIET_S = 3.0
"""A signal for a task that nobody knows is put off once, for two seconds."""

TOLD = re.compile("into the dead letters|more failures|^task .* (failed|is parked): ")
"""In the log, which has a share of it: tasks that are begun by records which only workers write may fail."""

PATIENCE_S = 120.0

Place = tuple[str, int, int]


async def test_bad_records_are_processed_or_put_aside_and_good_ones_succeed(
    settings: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING)
    await provision(settings)
    async with _working(settings):
        for topic, bad in BAD.items():
            await _produce(
                settings, topic, _with_good(poison(topic, bad)) if topic == "tasks" else poison(topic, bad)
            )
        await _drained(settings)
        results = await _results(settings)
        good = {task: result for task, result in results.items() if task.startswith("good-")}
        assert len(good) == BAD["tasks"] // GOOD_EVERY
        assert {result.outcome for result in good.values()} == {"succeeded"}
        await _assert_each_is_accounted_for(settings)
        for topic, bad in INTERNAL.items():
            await _produce(settings, topic, poison(topic, bad))
        await _drained(settings)
        await _produce(settings, "tasks", [_request("last")])
        await _drained(settings)
    assert (await _results(settings))["last"].outcome == "succeeded"
    await _assert_dead_letters_are_what_came(settings)
    of_this_test = "segue.streams.observability.watchdog"  # drawing so much poison holds the loop
    said = [record for record in caplog.records if record.name.startswith("segue.streams")]
    said = [record for record in said if record.name != of_this_test]
    assert {record.name for record in said} == {"segue.streams.observability.failure_log"}
    assert all(TOLD.search(record.getMessage()) for record in said)


# ---------------------------------------------------------------- what is produced


def _request(task: str, workflow: str = "sequence") -> Bad:
    return Bad(task.encode(), f'{{"workflow":"{workflow}","input":{_input(workflow)}}}'.encode())


def _input(workflow: str) -> str:
    return '"faro"' if workflow == "sequence" else "null"


def _with_good(bad: Iterable[Bad]) -> Iterator[Bad]:
    for number, record in enumerate(bad, 1):
        yield record
        if number % GOOD_EVERY == 0:
            yield _request(f"good-{number}", RUNS[number // GOOD_EVERY % len(RUNS)])


async def _produce(settings: Settings, topic: str, records: Iterable[Bad]) -> None:
    """In batches of all compressions, to both partitions."""
    producers = [_producer(settings, compression) for compression in COMPRESSIONS]
    for producer in producers:
        await producer.start()
    left = iter(records)
    try:
        for number in count():
            some = list(islice(left, IN_A_BATCH))
            if not some:
                return
            producer = producers[number % len(producers)]
            await _send(producer, settings.topic(topic), number % settings.partitions, some)
    finally:
        for producer in producers:
            await producer.stop()


def _producer(settings: Settings, compression: str | None) -> Any:
    return AIOKafkaProducer(
        bootstrap_servers=settings.bootstrap, compression_type=compression, max_batch_size=1_040_000
    )


async def _send(producer: Any, topic: str, partition: int, records: list[Bad]) -> None:
    while records:
        batch = producer.create_batch()
        taken = 0
        for record in records:
            if not batch.append(
                key=record.key, value=record.value, timestamp=None, headers=list(record.headers)
            ):
                break
            taken += 1
        assert taken, "a record is too large for a batch"
        records = records[taken:]
        if producer._compression_type is None:
            _spoil_header_names(batch)
        await (await producer.send_batch(batch, topic, partition=partition))


def _spoil_header_names(batch: Any) -> None:
    """The batch must not be compressed; the checksum, at 17, is of all that follows it."""
    build, name = batch._build, NAME_TO_SPOIL.encode()

    def spoilt() -> bytes:
        data = bytearray(build().replace(name, b"\xff" * len(name)))
        struct.pack_into(">I", data, 17, calc_crc32c(bytes(data[21:])))
        batch._buffer = bytes(data)
        return bytes(data)

    batch._build = spoilt


# ---------------------------------------------------------------- what came of it


@asynccontextmanager
async def _working(settings: Settings) -> AsyncGenerator[None]:
    worker = Worker(APP, settings)
    await worker.start()
    try:
        yield
    finally:
        await worker.stop()


async def _drained(settings: Settings) -> None:
    """Returns when no stage has had anything to do for a while."""
    deadline = monotonic() + PATIENCE_S
    quiet_since, before = monotonic(), -1
    while monotonic() - quiet_since < QUIET_S:
        assert monotonic() < deadline, await survey(settings)
        found = await survey(settings)
        lag, records = sum(sum(each.lag.values()) for each in found), sum(each.records for each in found)
        if lag or records != before:
            quiet_since, before = monotonic(), records
        await asyncio.sleep(0.5)


async def _read(settings: Settings, topic: str) -> list[Received]:
    return await records_of(settings, Range(topic))


async def _results(settings: Settings) -> dict[str, Result]:
    results: list[Result] = [codec.decode("results", each.value) for each in await _read(settings, "results")]
    found = {result.task: result for result in results if result.outcome != "rejected"}
    assert len(found) == sum(result.outcome != "rejected" for result in results)
    return found


def _came_from(letter: Received) -> Place:
    headers = dict(letter.headers)
    return headers["segue-topic"].decode(), int(headers["segue-partition"]), int(headers["segue-offset"])


async def _assert_each_is_accounted_for(settings: Settings) -> None:
    """In = processed + put aside: each is one event, or one dead letter; a rejection is both."""
    letters = Counter(_came_from(letter) for letter in await _read(settings, "dead-letters"))
    events: Counter[Place] = Counter()
    rejected: Counter[Place] = Counter()
    for record in await _read(settings, "events"):
        event = codec.decode("events", record.value)
        late = isinstance(event, Answered | SignalReceived | CancelRequested) and event.early
        origin = getattr(event, "origin", None)
        if origin is not None and not late:
            at = (origin.topic, origin.partition, origin.offset)
            (rejected if isinstance(event, Rejected) else events)[at] += 1
    assert {at for at in letters if at[0] in BAD} >= rejected.keys()
    for topic, bad in BAD.items():
        records = await _read(settings, topic)
        assert len(records) >= bad
        ends = {
            (topic, record.partition, record.offset): events[topic, record.partition, record.offset]
            for record in records
        }
        unaccounted = {at: n for at, n in ends.items() if n + letters[at] != 1}
        assert unaccounted == {}


async def _assert_dead_letters_are_what_came(settings: Settings) -> None:
    """With their bytes, a reason, and once each."""
    letters = await _read(settings, "dead-letters")
    topics = {_came_from(letter)[0] for letter in letters}
    came = {
        (topic, record.partition, record.offset): record
        for topic in topics
        for record in await _read(settings, topic)
    }
    assert Counter(map(_came_from, letters)).most_common(1)[0][1] == 1
    for letter in letters:
        record = came[_came_from(letter)]
        assert letter.value == (record.value or b"")
        assert dict(letter.headers)["segue-reason"]
