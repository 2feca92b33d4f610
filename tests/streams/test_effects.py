"""What an effect stage's runner does with its calls while sessions begin and end."""

import asyncio
from collections.abc import AsyncGenerator, Callable, Iterable
from contextlib import asynccontextmanager
from typing import Any

import pytest
from aiokafka.errors import KafkaError
from aiokafka.structs import TopicPartition

import segue.streams.engine.effect_runner
from segue.processors.app.app import App
from segue.streams.calls.calls import Job
from segue.streams.engine.effect_runner import EffectRunner, EffectStage
from segue.streams.kafka.offset_tracker import UNFINISHED_MAX
from segue.streams.kafka.positions import Committed, Loss
from segue.streams.kafka.protocol import Replaced
from segue.streams.object_store.claim_check import Owned
from segue.streams.observability.metrics import Metrics
from segue.streams.settings import Settings
from segue.topics.flow import Decision, Received
from tests.streams.seat import WAITS_S_MAX, Seat, seated

PLACE = TopicPartition("tool-calls", 0)


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

    def __init__(self, seat: Callable[[], Seat], in_flight_max: int = 8, gate: Any = None) -> None:
        self.calls = Held()
        self._seat = seat
        stage = EffectStage("tool", self.calls, in_flight_max, gate)
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
    stage = Stage(seat, gate=limits)
    async with stage.session():
        assert limits.owned == {0}
        await stage.runner.release()
        assert limits.owned == set()


@pytest.mark.asyncio
async def test_calls_that_wait_for_limits_leave_room_for_as_many_as_a_commit_can_tell_of(
    seat: Callable[[], Seat],
) -> None:
    stage = Stage(seat, in_flight_max=3, gate=Limits(waiting=10 * UNFINISHED_MAX))
    async with stage.session() as its:
        await passes()
    assert set(its.polls) == {UNFINISHED_MAX}
