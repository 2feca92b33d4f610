"""What an effect stage's runner does with its calls while sessions begin and end."""

import asyncio
import random
from collections.abc import AsyncGenerator, Callable, Iterable
from contextlib import asynccontextmanager
from itertools import accumulate
from typing import Any

import pytest
from aiokafka.errors import KafkaError, OffsetMetadataTooLargeError
from aiokafka.structs import TopicPartition

import segue.streams.engine.effect_runner
from segue.processors.app.app import App
from segue.streams.calls.calls import Job
from segue.streams.engine.call_offsets import METADATA_BYTES_MIN
from segue.streams.engine.effect_runner import WAITING_MAX, EffectRunner, EffectStage
from segue.streams.kafka.offsets.tracker import committed
from segue.streams.kafka.positions import Committed, Loss
from segue.streams.kafka.protocol import Replaced
from segue.streams.object_store.claim_check import Owned
from segue.streams.observability.metrics import Metrics
from segue.streams.settings import Settings
from segue.topics.errors import Unavailable
from segue.topics.flow import Decision, Received
from tests.streams.seat import WAITS_S_MAX, Seat, seated

PLACE = TopicPartition("tool-calls", 0)

OFFSETS = list(accumulate(random.Random(7).choices(range(1, 2_000), k=150), initial=0))
"""Too far from each other, and too irregular, to be told of in little."""


def record(offset: int, id_: str | None = None) -> Received:
    return Received("tool-calls", 0, offset, b"t", (id_ or str(offset)).encode(), (), 0)


class Held:
    """Calls that end when they are let go; `begun` has the ids of those that were begun."""

    def __init__(self) -> None:
        self.executor: Any = self
        self.begun: list[str] = []
        self.is_started = self.is_stopped = False
        self._ends: dict[str, asyncio.Event] = {}

    async def start(self) -> None:
        self.is_started = True

    async def stop(self) -> None:
        self.is_stopped = True

    def job(self, record: Received, owned: Owned) -> Job:
        id_ = (record.value or b"").decode()

        async def perform() -> Decision:
            await owned()
            self.begun.append(id_)
            await self.end(id_).wait()
            return Decision()

        return Job(id_, perform, lambda problem: Decision())

    def end(self, id_: str) -> asyncio.Event:
        return self._ends.setdefault(id_, asyncio.Event())


class Limits:
    """A gate at which so many calls wait. `owned` has the partitions whose calls it lets pass."""

    def __init__(self, waiting: int = 0) -> None:
        self.waiting = waiting
        self.owned: set[int] = set()

    def own(self, partitions: Iterable[int]) -> None:
        self.owned = set(partitions)

    def is_waiting(self, task: object) -> bool:
        return False


class Stage:
    """A runner on a seat, with its calls."""

    def __init__(self, seat: Callable[[], Seat], in_flight_max: int = 8, throttle: Any = None) -> None:
        self.calls = Held()
        self._seat = seat
        stage = EffectStage("tool", self.calls, in_flight_max, throttle)
        self.runner = EffectRunner(stage, Settings(), "w", Metrics(App("app", workflows=[])))

    @asynccontextmanager
    async def session(self, start: int = 0, is_ready: bool = True) -> AsyncGenerator[Seat]:
        """Take the partition from `start` on. At the end the session fails, and the runner may run again."""
        seat = self._seat()
        running = asyncio.create_task(self.runner.run())
        await asyncio.sleep(0)
        await self.runner.take({PLACE: Committed(start, "")})
        if is_ready:
            seat.ready.set()
        yield seat
        seat.fail(KafkaError("the session is over"))
        with pytest.raises(BaseExceptionGroup):
            await asyncio.wait_for(running, WAITS_S_MAX)

    async def until_begun(self, *ids: str) -> None:
        async with asyncio.timeout(WAITS_S_MAX):
            while not set(ids) <= set(self.calls.begun):  # noqa: ASYNC110 - it polls a list
                await asyncio.sleep(0.001)


async def passes() -> None:
    """Whatever can happen at once has happened."""
    for _ in range(20):
        await asyncio.sleep(0.001)


@pytest.fixture
def seat(monkeypatch: pytest.MonkeyPatch) -> Callable[[], Seat]:
    return seated(monkeypatch, segue.streams.engine.effect_runner)


@pytest.mark.asyncio
async def test_stopped_it_ends_when_its_calls_have_ended(seat: Callable[[], Seat]) -> None:
    stage, its = Stage(seat), seat()
    running = asyncio.create_task(stage.runner.run())
    await asyncio.sleep(0)
    await stage.runner.take({PLACE: Committed(0, "")})
    its.ready.set()
    its.give(record(0))
    await stage.until_begun("0")
    await stage.runner.stop()
    stage.calls.end("0").set()
    await asyncio.wait_for(running, WAITS_S_MAX)
    assert [commit.offsets for commit in its.commits] == [{PLACE: 1}]


@pytest.mark.asyncio
async def test_what_makes_its_calls_is_started_and_stopped(seat: Callable[[], Seat]) -> None:
    stage = Stage(seat)
    await stage.runner.open()
    assert (stage.calls.is_started, stage.calls.is_stopped) == (True, False)
    await stage.runner.close()
    assert stage.calls.is_stopped


@pytest.mark.asyncio
async def test_a_full_stage_reads_on_when_a_call_has_ended(seat: Callable[[], Seat]) -> None:
    stage = Stage(seat, in_flight_max=1)
    async with stage.session() as its:
        its.give(record(0))
        await stage.until_begun("0")
        polls = len(its.polls)
        await passes()
        assert len(its.polls) == polls
        stage.calls.end("0").set()
        its.give(record(1))
        await stage.until_begun("1")
        stage.calls.end("1").set()
        assert set(its.polls) == {1}


@pytest.mark.asyncio
async def test_a_call_waits_until_all_partitions_are_served(seat: Callable[[], Seat]) -> None:
    stage = Stage(seat)
    async with stage.session(is_ready=False) as its:
        its.give(record(0))
        await passes()
        assert stage.calls.begun == []
        its.ready.set()
        await stage.until_begun("0")


@pytest.mark.asyncio
async def test_what_ends_between_sessions_is_committed_when_its_record_comes_again(
    seat: Callable[[], Seat],
) -> None:
    stage = Stage(seat)
    async with stage.session() as its:
        its.give(record(0))
        await stage.until_begun("0")
    stage.calls.end("0").set()
    await passes()
    async with stage.session() as its:
        await passes()
        assert its.commits == []
        its.give(record(0))
        [commit] = await its.committed(1)
    assert (commit.offsets, stage.calls.begun) == ({PLACE: 1}, ["0"])


@pytest.mark.asyncio
async def test_nothing_is_committed_on_partitions_that_may_be_anothers(seat: Callable[[], Seat]) -> None:
    stage, its = Stage(seat), seat()
    running = asyncio.create_task(stage.runner.run())
    await asyncio.sleep(0)
    await stage.runner.take({PLACE: Committed(0, "")})
    its.ready.set()
    its.give(record(0))
    await stage.until_begun("0")
    its.is_held = False
    stage.calls.end("0").set()
    with pytest.raises(BaseExceptionGroup) as raised:
        await asyncio.wait_for(running, WAITS_S_MAX)
    assert isinstance(raised.value.exceptions[0], Replaced)
    assert its.commits == []


@pytest.mark.asyncio
async def test_the_newest_answered_calls_are_remembered(
    seat: Callable[[], Seat], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(segue.streams.engine.effect_runner, "REMEMBERED_MAX", 2)
    stage = Stage(seat)
    for id_ in "abc":
        stage.calls.end(id_).set()
    async with stage.session() as its:
        for offset, id_ in enumerate("abcca"):
            its.give(record(offset, id_))
            await its.committed(offset + 1)
    assert stage.calls.begun == ["a", "b", "c", "a"]


@pytest.mark.asyncio
async def test_a_commit_passes_over_records_that_were_removed(seat: Callable[[], Seat]) -> None:
    stage = Stage(seat)
    async with stage.session(start=3) as its:
        its.losses.append(Loss(PLACE, "tool-calls", 3, 40, before_ms=0))
        [commit] = await its.committed(1)
    assert commit.offsets == {PLACE: 40}
    assert [record.to.topic for record in commit.records] == ["events"]


@pytest.mark.asyncio
async def test_a_rebalance_does_not_wait_for_a_call_that_was_not_begun(
    seat: Callable[[], Seat], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(segue.streams.engine.effect_runner, "RELEASE_GRACE_S", 10 * WAITS_S_MAX)
    stage = Stage(seat)
    async with stage.session(is_ready=False) as its:
        its.give(record(0))
        await passes()
        await asyncio.wait_for(stage.runner.release(), WAITS_S_MAX)


@pytest.mark.asyncio
async def test_limits_let_calls_pass_while_their_partitions_are_served(seat: Callable[[], Seat]) -> None:
    limits = Limits()
    stage = Stage(seat, throttle=limits)
    async with stage.session():
        assert limits.owned == {0}
        await stage.runner.release()
        assert limits.owned == set()


@pytest.mark.asyncio
async def test_calls_that_wait_for_limits_leave_room_for_so_many_others(
    seat: Callable[[], Seat],
) -> None:
    stage = Stage(seat, in_flight_max=3, throttle=Limits(waiting=10 * WAITING_MAX))
    async with stage.session() as its:
        await passes()
    assert set(its.polls) == {3 + WAITING_MAX}


@pytest.mark.asyncio
async def test_a_partition_whose_unfinished_calls_fill_a_commit_takes_no_more_for_the_moment(
    seat: Callable[[], Seat], caplog: pytest.LogCaptureFixture
) -> None:
    """A record that does not fit is read again once others have ended, and none is left out."""
    stage, left, rounds = Stage(seat, in_flight_max=1_000), list(range(0, 300_000, 1_000)), 0
    async with stage.session() as its:
        await its.takes(stage.runner, METADATA_BYTES_MIN)
        while left:
            its.give(*map(record, left))
            await passes()
            goes_on = its.held.get(PLACE, left[-1] + 1)
            begun = [offset for offset in left if offset < goes_on]
            await stage.until_begun(*map(str, begun))
            for offset in begun:
                stage.calls.end(str(offset)).set()
            await passes()
            assert PLACE not in its.held
            left, rounds = left[len(begun) :], rounds + 1
    assert rounds > 3
    assert its.commits[-1].offsets == {PLACE: 299_001}
    assert len(stage.calls.begun) == len(set(stage.calls.begun)) == 300
    assert "takes no new calls for the moment" in caplog.text


@pytest.mark.asyncio
async def test_where_a_broker_takes_less_metadata_than_before_results_wait_until_it_fits(
    seat: Callable[[], Seat], caplog: pytest.LogCaptureFixture
) -> None:
    before = committed(OFFSETS[-1] + 1, OFFSETS)
    stage = Stage(seat, in_flight_max=1_000)
    async with stage.session() as its:
        await its.takes(stage.runner, METADATA_BYTES_MIN, before)
        its.give(*map(record, OFFSETS))
        await stage.until_begun(*map(str, OFFSETS))
        stage.calls.end("0").set()
        await passes()
        assert its.commits == []
        assert "results wait until more calls have ended" in caplog.text
        for offset in OFFSETS[:-3]:
            stage.calls.end(str(offset)).set()
        await passes()
        assert its.commits[-1].offsets == {PLACE: OFFSETS[-3]}
    await stage.runner.close()


@pytest.mark.asyncio
async def test_after_a_commit_was_refused_for_its_metadata_commits_take_less(
    seat: Callable[[], Seat], caplog: pytest.LogCaptureFixture
) -> None:
    """Also where the worker has no right to read how the broker is configured."""
    stage = Stage(seat, in_flight_max=1_000)
    async with stage.session() as its:
        its.refuses = OffsetMetadataTooLargeError()
        its.give(*map(record, OFFSETS))
        await stage.until_begun(*map(str, OFFSETS))
        stage.calls.end("0").set()
        await passes()
    assert "its offset.metadata.max.bytes is lower" in caplog.text
    async with stage.session() as its:
        its.give(*map(record, OFFSETS))
        await passes()
    await stage.runner.close()
    assert "commits take at most 150" in caplog.text
    assert "fill the metadata of a commit (150 bytes" in caplog.text


@pytest.mark.asyncio
async def test_with_too_little_metadata_a_stage_does_not_begin(seat: Callable[[], Seat]) -> None:
    stage = Stage(seat)
    async with stage.session() as its:
        with pytest.raises(Unavailable, match=r"set their offset\.metadata\.max\.bytes to 4096"):
            await its.takes(stage.runner, METADATA_BYTES_MIN - 1)
