"""What a call passes before it is made: the circuit of its candidate, and the limits that it counts in.

    circuit open, and a candidate left? ─▶ a failure that says so: recover takes the next one
    wait for the limits, in the order of arrival ─▶ no place here at all? moved to where there is one
    the call ─▶ its outcome is counted, its places are free

Waiting is no attempt: no time-out runs, nothing is in flight. Those who wait take none of the stage's calls
in flight, up to what a commit can tell of unfinished ones; then the poll pauses. While a group rebalances
nobody has a share, so that nobody begins.
"""

import asyncio
import time
from collections import deque
from collections.abc import Awaitable, Callable, Collection
from dataclasses import dataclass
from math import inf

from segue.processors.app.app import App
from segue.processors.routing.rate_limits import Share
from segue.processors.routing.routes import names_of
from segue.processors.routing.selection import following
from segue.processors.stages import tool
from segue.streams.calls.circuit_breakers import CircuitBreakers
from segue.streams.kafka.broker_clock import now_ms
from segue.streams.settings import Settings
from segue.topics.flow import MOVED, Decision, Headers, Publish, Received, is_moved, trace_of
from segue.topics.records import AttemptFailed, CallModel, CallTool, CheckOutput, Problem, StepSucceeded

AnyCall = CallModel | CallTool
Perform = Callable[[], Awaitable[Decision]]

SKIPPED = "CircuitOpen"
"""The type of the problem of an attempt that was not made."""


@dataclass(eq=False)
class Waiting:
    shares: tuple[Share, ...]
    moved: bool
    task: str
    since_s: float
    turn: "asyncio.Future[int | None]"
    """Done when the call may begin, or with the partition to move it to."""


class CallThrottle:
    """One for each effect stage of a worker whose app has circuits or limits."""

    def __init__(self, stage: str, app: App, settings: Settings, board: CircuitBreakers | None) -> None:
        self._topic = f"{stage}-calls"
        self._app = app
        self._board = board
        self._shares = {
            name: Share(name, limit, settings.partitions) for name, limit in app.limits_of(stage).items()
        }
        self._line: deque[Waiting] = deque()
        self._timer: asyncio.TimerHandle | None = None
        self._idle: set[asyncio.Task[object]] = set()

    @property
    def limits(self) -> Collection[str]:
        return self._shares

    @property
    def waiting(self) -> int:
        """Calls that have not begun."""
        return len(self._idle)

    def is_waiting(self, task: "asyncio.Task[None]") -> bool:
        return task in self._idle

    def waited_s(self, limit: str) -> float:
        """How long the first has waited of those that this limit holds back."""
        share, now_s = self._shares[limit], time.monotonic()
        held = (each for each in self._line if share in each.shares and share.wait_s(now_s, each.moved) > 0)
        return max((now_s - each.since_s for each in held), default=0.0)

    def own(self, partitions: Collection[int]) -> None:
        """The stage serves these of its topic from now on, and no others."""
        for share in self._shares.values():
            share.own(partitions, time.monotonic())
        if partitions:
            self._admit()

    async def serve(self, call: AnyCall, by: str, record: Received, perform: Perform) -> Decision:
        """What comes of the call, made or not."""
        if (why := self._refusal(call, by)) is not None:
            return self._skipped(call, by, why)
        shares = self._shares_of(call, by)
        if shares and (partition := await self._turn(shares, call, record)) is not None:
            return _moved(self._topic, call, record, partition)
        tokens = 0
        try:
            decision = await self._made(call, by, perform)
            tokens = _tokens(decision)
        finally:
            for share in shares:
                share.end(tokens)
            if shares:
                self._admit()
        return decision

    # ------------------------------------------------------------ circuits

    def _refusal(self, call: AnyCall, by: str) -> str | None:
        """A call that has nowhere else to go is made whatever its candidate's circuit."""
        route = self._app.routes.get(call.route)
        if self._board is None or route is None or following(call, len(route.candidates)) is None:
            return None
        return self._board.refusal(by)

    def _skipped(self, call: AnyCall, by: str, why: str) -> Decision:
        assert self._board is not None
        self._board.skipped(by)
        problem = Problem(type=SKIPPED, message=why, retryable=False)
        return tool.failed(call, by, problem, 0.0, now_ms())

    async def _made(self, call: AnyCall, by: str, perform: Perform) -> Decision:
        """The circuit may have opened while the call waited for its turn."""
        if self._board is None:
            return await perform()
        if (why := self._refusal(call, by)) is not None:
            return self._skipped(call, by, why)
        probe, started_s = self._board.begin(by), time.perf_counter()
        try:
            decision = await perform()
        except BaseException:
            self._board.given_up(by, probe=probe)
            raise
        duration_ms = (time.perf_counter() - started_s) * 1000
        self._board.ended(by, duration_ms, failed=_speaks_of_the_candidate(decision), probe=probe)
        return decision

    # ------------------------------------------------------------ limits

    def _shares_of(self, call: AnyCall, by: str) -> tuple[Share, ...]:
        if not self._shares:
            return ()
        route = self._app.routes.get(call.route)
        names = dict.fromkeys((by, *(names_of(route, call.candidate_index) if route is not None else ())))
        return tuple(self._shares[name] for name in names if name in self._shares)

    async def _turn(self, shares: tuple[Share, ...], call: AnyCall, record: Received) -> int | None:
        turn: asyncio.Future[int | None] = asyncio.get_running_loop().create_future()
        waiting = Waiting(shares, is_moved(record), call.task, time.monotonic(), turn)
        task = asyncio.current_task()
        assert task is not None
        self._line.append(waiting)
        self._idle.add(task)
        self._admit()
        try:
            return await turn
        except asyncio.CancelledError:
            self._leave(waiting)
            raise
        finally:
            self._idle.discard(task)

    def _leave(self, waiting: Waiting) -> None:
        """Cancelled, perhaps when its turn had just come."""
        if waiting in self._line:
            self._line.remove(waiting)
        elif waiting.turn.done() and not waiting.turn.cancelled() and waiting.turn.result() is None:
            for share in waiting.shares:
                share.end(0)
            self._admit()

    def _admit(self) -> None:
        """Everybody whose turn it is. Nobody passes another who waits for the same limit."""
        now_s, held, soonest_s = time.monotonic(), set[Share](), inf
        still: deque[Waiting] = deque()
        for waiting in self._line:
            if waiting.turn.done():
                continue
            if (partition := _elsewhere(waiting)) is not None:
                waiting.turn.set_result(partition)
                continue
            wait_s = _wait_s(waiting, now_s) if held.isdisjoint(waiting.shares) else inf
            if wait_s == 0:
                _begin(waiting)
                continue
            soonest_s = min(soonest_s, wait_s)
            held.update(waiting.shares)
            still.append(waiting)
        self._line = still
        self._again_in(soonest_s)

    def _again_in(self, wait_s: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if wait_s < inf:
            self._timer = asyncio.get_running_loop().call_later(wait_s, self._admit)


def _begin(waiting: Waiting) -> None:
    for share in waiting.shares:
        share.begin()
    waiting.turn.set_result(None)


def _wait_s(waiting: Waiting, now_s: float) -> float:
    return max(share.wait_s(now_s, waiting.moved) for share in waiting.shares)


def _elsewhere(waiting: Waiting) -> int | None:
    if waiting.moved:
        return None
    return next(filter(lambda p: p is not None, (s.elsewhere(waiting.task) for s in waiting.shares)), None)


# ---------------------------------------------------------------- what came of a call


def _speaks_of_the_candidate(decision: Decision) -> bool:
    """Whether it failed in a way that may pass: what is wrong with the call itself fails anywhere."""
    return any(
        publish.value.problem.retryable and publish.value.critique is None
        for publish in decision.publish
        if isinstance(publish.value, AttemptFailed)
    )


def _tokens(decision: Decision) -> int:
    return sum(_used(publish.value) for publish in decision.publish)


def _used(record: object) -> int:
    if not isinstance(record, StepSucceeded | CheckOutput) or record.usage is None:
        return 0
    return record.usage.input_tokens + record.usage.output_tokens


def _moved(topic: str, call: AnyCall, record: Received, partition: int) -> Decision:
    headers: Headers = (*trace_of(record), (MOVED, b""))
    return Decision([Publish(topic, call.task, call, headers, partition)])
