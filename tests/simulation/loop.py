"""An event loop whose time is made up: it jumps to the next timer as soon as nothing is ready.

Hours take no longer than what happens in them, and nothing depends on how fast the machine is: the same
coroutines with the same draws run in the same order.
"""

import asyncio
import contextvars
import heapq
from asyncio import events
from collections import deque
from collections.abc import Callable, Coroutine
from itertools import count
from typing import Any, TypeVar

from segue.processors.event_loop.loop import WorkflowTask

T = TypeVar("T")


class Deadlock(Exception):
    """Nothing is ready and no timer is set: whoever waits, waits for ever."""


class Handle:
    """`asyncio.Handle` and `TimerHandle`, without what only other loops need."""

    __slots__ = ("_args", "_callback", "_cancelled", "_context", "_when")

    def __init__(self, callback: Any, args: Any, context: contextvars.Context | None, when: float) -> None:
        self._callback = callback
        self._args = args
        self._context = context or contextvars.copy_context()
        self._when = when
        self._cancelled = False

    def when(self) -> float:
        return self._when

    def cancel(self) -> None:
        self._cancelled = True

    def cancelled(self) -> bool:
        return self._cancelled

    def run(self) -> None:
        self._context.run(self._callback, *self._args)


class Loop(asyncio.AbstractEventLoop):
    def __init__(self) -> None:
        self.now_s = 0.0
        self.errors: list[str] = []
        """What asyncio would log: exceptions that nobody awaited."""
        self._ready: deque[Handle] = deque()
        self._timers: list[tuple[float, int, Handle]] = []
        self._numbers = count()

    def run_until_complete(self, future: Any) -> Any:
        outer = events._get_running_loop()
        events._set_running_loop(self)
        try:
            main = self.create_task(future)
            while not main.done():
                self._step()
            return main.result()
        finally:
            events._set_running_loop(outer)

    def _step(self) -> None:
        if self._ready:
            handle = self._ready.popleft()
        elif self._timers:
            due_s, _, handle = heapq.heappop(self._timers)
            if not handle.cancelled():
                self.now_s = max(self.now_s, due_s)
        else:
            raise Deadlock
        if not handle.cancelled():
            handle.run()

    # ------------------------------------------------------------ what asyncio asks of a loop

    def call_soon(  # type: ignore[override]
        self, callback: Callable[..., object], *args: Any, context: contextvars.Context | None = None
    ) -> Handle:
        handle = Handle(callback, args, context, self.now_s)
        self._ready.append(handle)
        return handle

    call_soon_threadsafe = call_soon  # type: ignore[assignment]

    def call_at(  # type: ignore[override]
        self,
        when: float,
        callback: Callable[..., object],
        *args: Any,
        context: contextvars.Context | None = None,
    ) -> Handle:
        handle = Handle(callback, args, context, when)
        heapq.heappush(self._timers, (when, next(self._numbers), handle))
        return handle

    def call_later(  # type: ignore[override]
        self,
        delay: float,
        callback: Callable[..., object],
        *args: Any,
        context: contextvars.Context | None = None,
    ) -> Handle:
        return self.call_at(self.now_s + delay, callback, *args, context=context)

    def time(self) -> float:
        return self.now_s

    def create_future(self) -> asyncio.Future[Any]:
        return asyncio.Future(loop=self)

    def create_task(  # type: ignore[override]
        self, coro: Coroutine[Any, Any, T], *, context: contextvars.Context | None = None, **options: Any
    ) -> asyncio.Task[T]:
        context = context or contextvars.copy_context()
        return WorkflowTask(next(self._numbers), coro, context, loop=self, **options)

    def run_in_executor(  # type: ignore[override]
        self, executor: Any, func: Callable[..., T], *args: Any
    ) -> "asyncio.Future[T]":
        """At once: what would run in a thread is a turn like any other."""
        future = self.create_future()
        try:
            future.set_result(func(*args))
        except Exception as error:  # noqa: BLE001 - whoever awaits it gets it
            future.set_exception(error)
        return future

    def call_exception_handler(self, context: dict[str, Any]) -> None:
        self.errors.append(f"{context.get('message')}: {context.get('exception')!r}")

    def get_debug(self) -> bool:
        return False

    def is_running(self) -> bool:
        return True

    def is_closed(self) -> bool:
        return False
