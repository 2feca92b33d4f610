"""The step in which a call waits for the limits that it counts in.

    wait for the limits, in the order of arrival ─▶ no place here at all? moved to where there is one
    the call ─▶ its tokens are counted, its places are free

Waiting is no attempt: no time-out runs, nothing is in flight. Those who wait take none of the stage's calls
in flight, up to what a commit can tell of unfinished ones; then the poll pauses. While a group rebalances
nobody has a share, so that nobody begins.
"""

import asyncio
import time
from collections import deque
from collections.abc import Collection
from dataclasses import dataclass
from math import inf

from segue.processors.app.app import App
from segue.processors.routing.rate_limits import Share
from segue.processors.routing.routes import names_of
from segue.processors.stages.outcome import Answered, Failed, Outcome, Requeued
from segue.streams.calls.context import CallContext, Proceed
from segue.streams.settings import Settings
from segue.topics.flow import MOVED, moved_in, passed_on


@dataclass(eq=False)
class Waiting:
    shares: tuple[Share, ...]
    moved: bool
    task: str
    since_s: float
    turn: "asyncio.Future[int | None]"
    """Done when the call may begin, or with the partition to move it to."""


class CallThrottle:
    """One for each effect stage of a worker whose app has limits."""

    def __init__(self, stage: str, app: App, settings: Settings) -> None:
        self._app = app
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

    async def __call__(self, context: CallContext, proceed: Proceed) -> Outcome:
        """The step of a call: it waits for its limits, or goes to a partition that has a place."""
        shares = self._shares_of(context)
        if not shares:
            return await proceed(context)
        if (partition := await self._turn(shares, context)) is not None:
            headers = (*passed_on(context.headers), (MOVED, b""))
            return Requeued(context.call, headers, partition)
        tokens = 0
        try:
            outcome = await proceed(context)
            tokens = _tokens(outcome)
        finally:
            for share in shares:
                share.end(tokens)
            self._admit()
        return outcome

    def _shares_of(self, context: CallContext) -> tuple[Share, ...]:
        call, by = context.call, context.candidate
        route = self._app.routes.get(call.route)
        names = dict.fromkeys((by, *(names_of(route, call.candidate_index) if route is not None else ())))
        return tuple(self._shares[name] for name in names if name in self._shares)

    async def _turn(self, shares: tuple[Share, ...], context: CallContext) -> int | None:
        turn: asyncio.Future[int | None] = asyncio.get_running_loop().create_future()
        waiting = Waiting(shares, moved_in(context.headers), context.call.task, time.monotonic(), turn)
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


def _tokens(outcome: Outcome) -> int:
    """That it consumed, whether or not the output was an answer."""
    match outcome:
        case Answered(reply):
            usage = reply.usage
        case Failed():
            usage = outcome.usage
        case _:
            usage = None
    return 0 if usage is None else usage.input_tokens + usage.output_tokens
