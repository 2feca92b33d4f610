"""Time-outs of many calls, of which nearly all answer in time: as `asyncio.timeout`, at a fifth of its cost.

Calls with the same time-out are due in the order in which they began, so the first needs a timer and the
others none: a call that answers takes itself off the list, and the timer looks at whoever is first by then.
"""

import asyncio
from collections.abc import Awaitable
from dataclasses import dataclass
from typing import Any

from segue.processors.stages.outcome import Outcome
from segue.streams.calls.context import CallContext, Proceed


@dataclass(slots=True, eq=False)
class _Call:
    task: asyncio.Task[Any]
    due_s: float
    cancelling: int
    """How often others had asked the task to end, before we did."""
    expired: bool = False


class Deadlines:
    """For calls that each run in an asyncio task."""

    def __init__(self) -> None:
        self._loop: asyncio.AbstractEventLoop | None = None
        self._open: dict[float, dict[_Call, None]] = {}
        """By their time-out in seconds; in each, the one that is due first stands first."""

    async def __call__(self, context: CallContext, proceed: Proceed) -> Outcome:
        """The step of a call: it gets the time that its route's policy allows."""
        outcome: Outcome = await self.within(context.policy.timeout_s, proceed(context))
        return outcome

    async def within(self, timeout_s: float, awaitable: Awaitable[Any]) -> Any:
        """Raises `TimeoutError` after so many seconds, once `awaitable` has been cancelled."""
        call = self._begin(timeout_s)
        cancelled = False
        try:
            return await awaitable
        except asyncio.CancelledError:
            cancelled = True
            raise
        finally:
            del self._open[timeout_s][call]
            if call.expired and call.task.uncancel() <= call.cancelling and cancelled:
                raise TimeoutError(f"no answer within {timeout_s:g} s") from None

    def _begin(self, timeout_s: float) -> _Call:
        loop = self._loop = self._loop or asyncio.get_running_loop()
        task = asyncio.current_task(loop)
        assert task is not None
        call = _Call(task, loop.time() + timeout_s, task.cancelling())
        calls = self._open.get(timeout_s)
        if calls is None:
            calls = self._open[timeout_s] = {}
            self._look_at(call.due_s, timeout_s, loop)
        calls[call] = None
        return call

    def _look_at(self, when_s: float, timeout_s: float, loop: asyncio.AbstractEventLoop) -> None:
        loop.call_at(when_s, self._look, timeout_s, loop)

    def _look(self, timeout_s: float, loop: asyncio.AbstractEventLoop) -> None:
        """Cancels what is due. Looks again when the next one is, as long as there are any."""
        now_s, calls = loop.time(), self._open[timeout_s]
        for call in calls:
            if call.due_s > now_s:
                return self._look_at(call.due_s, timeout_s, loop)
            if not call.expired:
                call.expired = True
                call.task.cancel()
        if calls:
            return self._look_at(now_s + timeout_s, timeout_s, loop)
        del self._open[timeout_s]
        return None
