"""What the runner of pure stages guarantees, on a real broker."""

import asyncio
import gc
import logging
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncGenerator, Iterator
from pathlib import Path
from typing import Any, NoReturn
from weakref import ref

import pytest
import pytest_asyncio
from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaConnectionError
from aiokafka.structs import OffsetAndMetadata, TopicPartition
from prometheus_client import CollectorRegistry

from chaos.machine import Machine
from segue.streams.engine import pure_runner as pure
from segue.streams.kafka import producer
from segue.streams.kafka.broker_clock import Clock, now_ms
from segue.streams.kafka.committer import Transactions
from segue.streams.kafka.consumer_group import Group
from segue.streams.kafka.protocol import Replaced
from segue.streams.kafka.provisioning import provision
from segue.streams.kafka.record_batches import Outgoing
from segue.streams.kafka.static_member import static_member
from segue.streams.observability.metrics import Metrics
from segue.streams.settings import Settings
from segue.streams.state.store import Store
from segue.topics import codec
from segue.topics.flow import Decision, Publish, Received, State, Write
from tests.kafka.engine import counts, event, feed, read, running, tallied, tally, until


@pytest_asyncio.fixture
async def topics(settings: Settings) -> AsyncGenerator[Settings]:
    await provision(settings)
    yield settings


@pytest.mark.parametrize("guarantee", ["exactly_once", "at_least_once"])
async def test_each_event_is_counted_once_and_keeps_its_trace(topics: Settings, guarantee: str) -> None:
    settings = topics.model_copy(update={"guarantee": guarantee})
    async with running(tally(settings, "one")):
        await feed(settings, "events", [("a", event("a"))] * 20)
        found = await read(settings, "results", 20, quiet_s=0.5)
    assert [r.value for r in found] == [codec.encode(tallied("a", n)) for n in range(1, 21)]
    assert found[0].headers == (("content-type", b"application/json"), ("traceparent", b"00-1-2-01"))


@pytest.mark.parametrize("guarantee", ["exactly_once", "at_least_once"])
async def test_on_idle_partitions_nothing_waits(
    topics: Settings, guarantee: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The marker of a transaction stands behind the last record: it is no record."""
    monkeypatch.setattr(pure, "LAG_EVERY_S", 0.0)
    settings = topics.model_copy(update={"guarantee": guarantee})
    first, second = tally(settings, "one"), tally(settings, "two")
    async with running(first):
        await feed(settings, "events", [(str(number), event(str(number))) for number in range(20)])
        await read(settings, "results", 20, quiet_s=0.5)
        place = TopicPartition(settings.topic("events"), 0)
        await committed_by(settings, Outgoing(place, b"a", codec.encode(event("a")), []))
        await until(lambda: lags(first) == [0.0, 0.0])
        assert served(first) == 2.0
    async with running(second):
        await until(lambda: lags(second) == [0.0, 0.0])


def values(runner: pure.PureRunner) -> CollectorRegistry:
    metrics: Metrics = vars(runner)["_metrics"]
    return metrics.registry


def lags(runner: pure.PureRunner) -> list[float | None]:
    named = ({"stage": "conduct", "topic": "events", "partition": number} for number in "01")
    return [values(runner).get_sample_value("segue_consumer_lag_records", labels) for labels in named]


def served(runner: pure.PureRunner) -> float | None:
    return values(runner).get_sample_value("segue_served_partitions", {"stage": "conduct"})


async def committed_by(settings: Settings, record: Outgoing) -> None:
    """As a stage writes it: in a transaction."""
    producer_: Any = AIOKafkaProducer(
        **settings.client_options(), transactional_id=f"{settings.topic_prefix}hand"
    )
    async with producer_, producer_.transaction():
        await producer_.send(record.to.topic, record.value, key=record.key, partition=record.to.partition)


@pytest.mark.parametrize("guarantee", ["exactly_once", "at_least_once"])
async def test_a_wrong_clock_learns_the_time_from_the_broker_and_is_not_refused(
    topics: Settings, guarantee: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    hours_ahead = Clock(lambda: time.time_ns() + 10**13)
    monkeypatch.setattr(producer, "CLOCK", hours_ahead)
    monkeypatch.setattr(pure, "clock_ms", hours_ahead.now_ms)
    assert hours_ahead.now_ms() > now_ms() + 9_000_000
    async with running(tally(topics.model_copy(update={"guarantee": guarantee}), "one")):
        await feed(topics, "events", [("a", event("a"))])
        (record,) = await read(topics, "results", 1, quiet_s=0.0)
    assert abs(record.timestamp - now_ms()) < 60_000
    assert abs(hours_ahead.now_ms() - now_ms()) < 60_000


async def test_what_grows_too_large_for_one_commit_takes_several(
    topics: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pure, "OUTBOX_RECORDS_MAX", 8)
    await feed(topics, "events", [(task, event(task)) for task in "ab" * 50])
    async with running(tally(topics, "one")):
        assert await counts(topics, "a", 100) == list(range(1, 51))
    async with running(tally(topics, "another")):
        await feed(topics, "events", [("a", event("a")), ("b", event("b"))])
        assert await counts(topics, "a", 102) == list(range(1, 52))


async def test_killed_in_the_middle_again_and_again_each_event_counts_once(topics: Settings) -> None:
    feeding = asyncio.create_task(feed(topics, "events", [("a", event("a"))] * 1500))
    for _ in range(3):
        process = _start(topics, "killed")
        await asyncio.sleep(2.5)
        process.kill()
        process.wait()
    await feeding
    async with running(tally(topics, "killed")):
        assert await counts(topics, "a", 1500) == list(range(1, 1501))


async def test_a_frozen_worker_whose_partitions_were_taken_publishes_nothing_more(topics: Settings) -> None:
    frozen = _start(topics, "frozen")
    try:
        feeding = asyncio.create_task(feed(topics, "events", [("a", event("a"))] * 1500))
        await asyncio.sleep(2.5)
        os.kill(frozen.pid, signal.SIGSTOP)
        async with running(tally(topics, "other")):
            await feeding
            before = await counts(topics, "a", 1500)
            os.kill(frozen.pid, signal.SIGCONT)
            await feed(topics, "events", [("a", event("a"))] * 10)
            assert before == list(range(1, 1501))
            assert await counts(topics, "a", 1510) == list(range(1, 1511))
    finally:
        frozen.kill()
        frozen.wait()


async def test_a_commit_of_a_generation_that_is_over_is_refused(topics: Settings) -> None:
    class Nothing:
        async def take(self, partitions: object) -> None: ...

        async def release(self) -> None: ...

    group = Group(topics, "conduct", static_member(topics, "conduct", "w"), ["events"], Nothing())
    transactions = Transactions(topics, f"{topics.topic_prefix}stale")
    await group.join()
    await transactions.start()
    await until(group.ready.is_set)
    offsets = {tp: OffsetAndMetadata(0, "") for tp in group.consumer.assignment()}
    stale = group.membership._replace(generation=group.membership.generation - 1)
    record = Outgoing(TopicPartition(topics.topic("results"), 0), b"k", b"v", [])
    with pytest.raises(Replaced):
        await transactions.commit([record], offsets, stale, now_ms())
    await transactions.stop()
    successor = Transactions(topics, f"{topics.topic_prefix}stale")
    await successor.start()
    await successor.commit([record._replace(value=b"w")], offsets, group.membership, now_ms())
    await successor.stop()
    await group.leave()
    assert [record.value for record in await read(topics, "results", 1, quiet_s=0.5)] == [b"w"]


async def test_state_is_restored_from_the_changelog_alone(topics: Settings, tmp_path: Path) -> None:
    async with running(tally(topics, "one")):
        await feed(topics, "events", [(task, event(task)) for task in "abcabca"])
        await read(topics, "results", 7, quiet_s=0.5)
    elsewhere = topics.model_copy(update={"state_dir": tmp_path / "elsewhere"})
    async with running(tally(elsewhere, "two")):
        await feed(topics, "events", [("a", event("a"))])
        assert await counts(topics, "a", 8) == [1, 2, 3, 4]
    assert _entries(topics, "one") == {b"a": b"3", b"b": b"2", b"c": b"2"}
    assert _entries(elsewhere, "two") == {b"a": b"4", b"b": b"2", b"c": b"2"}


async def test_at_least_once_the_state_is_what_the_changelog_says_even_if_another_wrote_there(
    topics: Settings,
) -> None:
    settings = topics.model_copy(update={"guarantee": "at_least_once"})
    async with running(tally(settings, "one")):
        await feed(topics, "events", [("a", event("a"))])
        assert await counts(topics, "a", 1) == [1]
        await feed(topics, "conduct-state", [("a", b"8")])
        await feed(topics, "events", [("a", event("a"))])
        assert await counts(topics, "a", 2) == [1, 2]
        await feed(topics, "conduct-state", [("a", b"8")])
        await feed(topics, "events", [("b", event("b"))] * 8)
        await read(topics, "results", 10, quiet_s=0.5)
    elsewhere = settings.model_copy(update={"state_dir": topics.state_dir / "elsewhere"})
    async with running(tally(elsewhere, "two")):
        pass
    assert _entries(topics, "one") == _entries(elsewhere, "two")


async def test_a_damaged_store_is_rebuilt(topics: Settings) -> None:
    async with running(tally(topics, "one")):
        await feed(topics, "events", [("a", event("a"))] * 3)
        await read(topics, "results", 3, quiet_s=0.5)
    manifests = list(topics.state_dir.glob(f"one/{topics.topic_prefix}/conduct-*/CURRENT"))
    assert manifests, "another prefix would open the same stores"
    for manifest in manifests:
        manifest.write_text("nonsense")
    async with running(tally(topics, "one")):
        await feed(topics, "events", [("a", event("a"))])
        assert await counts(topics, "a", 4) == [1, 2, 3, 4]


async def test_a_worker_whose_disk_is_full_stands_aside_until_there_is_room(
    topics: Settings, machine: Machine, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    full = topics.model_copy(update={"state_dir": machine.disk})
    roomy = topics.model_copy(update={"state_dir": tmp_path / "roomy"})
    starved = tally(full, "full")
    events = [(f"{n}", event(f"{n}")) for n in range(500)]  # more than the last page of a log has room for
    async with running(starved):
        await feed(topics, "events", events)
        assert await counts(topics, "7", 500) == [1]
        machine.fill_disk()
        await feed(topics, "events", events)
        await until(lambda: "make room" in caplog.text)
        async with running(tally(roomy, "roomy")):
            await feed(topics, "events", events)
            assert await counts(topics, "7", 1500) == [1, 2, 3]
        machine.empty_disk()
        await until(lambda: starved.ready)
        await feed(topics, "events", events)
        assert await counts(topics, "7", 2000) == [1, 2, 3, 4]
    assert _entries(full, "full") == {b"%d" % n: b"4" for n in range(500)}
    assert "which is a bug" not in caplog.text


async def test_poison_and_what_is_too_large_are_put_aside_and_the_stage_goes_on(topics: Settings) -> None:
    async with running(tally(topics, "one")):
        await feed(topics, "events", [("a", v) for v in (event("a"), b"poison", b"large", event("a"))])
        assert await counts(topics, "a", 2) == [1, 2]
        letters = await read(topics, "dead-letters", 2, quiet_s=0.5)
    assert [letter.value for letter in letters] == [b"poison", b"large"]
    reasons = [dict(letter.headers)["segue-reason"].decode() for letter in letters]
    assert reasons[0] == "ValueError: poison"
    assert "does not fit on" in reasons[1]


async def test_what_is_assigned_while_the_group_is_left_is_not_taken(topics: Settings) -> None:
    """Its owner would commit, from its next seat, where this one began: records would be handled again."""

    class Owner:
        taken = 0

        async def take(self, partitions: object) -> None:
            self.taken += 1

        async def release(self) -> None: ...

    owner = Owner()
    group = Group(topics, "conduct", static_member(topics, "conduct", "w"), ["events"], owner)
    await group.join()
    await until(group.ready.is_set)
    await asyncio.gather(group.leave(), group.on_partitions_assigned(group.consumer.assignment()))
    await asyncio.sleep(0.5)
    assert (owner.taken, group.ready.is_set()) == (1, False)


class Later:
    """Publishes each record's result 300 ms after it came, from its state."""

    def __init__(self, state: State) -> None:
        self._state = state

    def handle(self, record: Received, now_ms: int) -> Decision:
        return Decision(write=[Write((now_ms + 300).to_bytes(8) + (record.key or b""), b"")])

    def due_ms(self) -> int | None:
        return next((int.from_bytes(key[:8]) for key, _ in self._state.scan(b"")), None)

    def close(self) -> None:
        pass

    def tick(self, now_ms: int) -> Decision:
        due = [key for key, _ in self._state.scan(b"") if int.from_bytes(key[:8]) <= now_ms]
        published = [Publish("results", key[8:].decode(), tallied(key[8:].decode(), 1)) for key in due]
        return Decision(published, [Write(key, None) for key in due])


@pytest.fixture
def garbage_stays() -> Iterator[None]:
    """Until somebody looks for it; and pytest keeps no errors of aiokafka, with all that these refer to."""
    gc.disable()
    logging.disable()
    yield
    logging.disable(logging.NOTSET)
    gc.enable()


@pytest.mark.usefixtures("garbage_stays")
async def test_what_a_run_had_does_not_outlive_it_for_long(topics: Settings) -> None:
    async def refuse(*_: object) -> NoReturn:
        raise KafkaConnectionError("planted")

    runner: Any = tally(topics, "one")
    async with running(runner):
        consumer = ref(runner._group.consumer)
        runner._group.poll = refuse
        await until(lambda: consumer() is None)


async def test_what_is_due_is_published_without_another_record_coming(topics: Settings) -> None:
    async with running(tally(topics, "one", Later)):
        await feed(topics, "events", [("a", event("a")), ("b", event("b"))])
        started_ms = now_ms()
        found = await read(topics, "results", 2, quiet_s=0.5)
    assert sorted(record.key for record in found) == [b"a", b"b"]
    assert all(200 < record.timestamp - started_ms < 2_000 for record in found)


def _start(settings: Settings, worker: str) -> "subprocess.Popen[bytes]":
    script = Path(__file__).with_name("engine.py")
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    return subprocess.Popen([sys.executable, script, settings.model_dump_json(), worker], env=environment)


def _entries(settings: Settings, worker: str) -> dict[bytes, bytes]:
    entries: dict[bytes, bytes] = {}
    for path in settings.state_dir.glob(f"{worker}/{settings.topic_prefix}/conduct-*"):
        store = Store(path)
        entries |= store.scan(b"")
        store.close()
    return entries
