"""A deterministic asyncio event loop: what makes a plain coroutine replayable.

It runs ready callbacks in the order in which they became ready, until none is left, and then returns: it
never waits. Its time is the task's: it moves only when an event of the task's log says so. A timer
(`asyncio.sleep`, `asyncio.timeout`) is handed to whoever runs the loop, who makes it durable and calls it
when it is due.
Whatever would touch the world (sockets, threads, processes, signals) raises and says what to do instead.

The loop is nested inside the running one: `drain` puts it in the other's place and back. Works on
CPython 3.11 to 3.14; since 3.12 the current task is set aside as well, because 3.14 keeps it per thread.
"""

import asyncio
import contextvars
import sys
from asyncio import events
from collections import deque
from collections.abc import Callable, Coroutine
from itertools import count
from math import isnan
from typing import Any, NoReturn, TypeVar, cast
from weakref import WeakSet
from zlib import crc32

from topics.descriptions import is_ctrl_c
from topics.errors import BadInput, Suspended

T = TypeVar("T")
A = TypeVar("A")
R = TypeVar("R")

CALLBACKS_MAX = 1_000_000
"""So many callbacks between two events (about 2 s) never end: the coroutine would hold its worker."""

CLOSED_AT_MOST = 10
"""A coroutine that awaits while it is closed is closed again, so often."""

UNWINDING_MAX = 10_000
"""So many callbacks are run while coroutines are let go."""

TASK_NUMBER_BITS = 32
"""Of a hash of 63 bits."""

_ExceptionHandler = Callable[[asyncio.AbstractEventLoop, dict[str, Any]], object]


class NoTime(BadInput, ValueError):
    """A `ValueError` as asyncio has it, and a misuse that parks the task."""


class WorkflowTask(asyncio.Task[T]):
    """A task that hashes by its number: asyncio keeps tasks in sets, whose order must not change in a replay.

    (`TaskGroup` cancels the members of such a set, one after the other.) The lower bits of the hash are the
    number, the upper ones its loop's: one set of asyncio holds the tasks of all loops, and if all first tasks
    hashed alike, each would be compared with every other. It knows its context, in which it is also unwound.
    """

    def __init__(
        self, hashed: int, coro: Coroutine[Any, Any, T], context: contextvars.Context, **options: Any
    ) -> None:
        self._hashed = hashed
        self.context = context
        super().__init__(coro, context=context, **options)

    def __hash__(self) -> int:
        return self._hashed


class WorkflowLoop(asyncio.AbstractEventLoop):
    """`arm` is called with each timer that is set for later than now. `name` is the same in each replay."""

    def __init__(self, arm: Callable[[asyncio.TimerHandle], None], name: str = "") -> None:
        self._arm = arm
        self._ready: deque[asyncio.Handle] = deque()
        self._hashes = count(crc32(name.encode()) >> 1 << TASK_NUMBER_BITS)
        self._tasks: WeakSet[WorkflowTask[Any]] = WeakSet()
        self.now_s = 0.0

    def drain(self) -> bool:
        """Run until nothing is ready. False if that does not come to an end by itself."""
        return _in_place_of_the_running_loop(self, self._run_ready, CALLBACKS_MAX)

    def _run_ready(self, most: int) -> bool:
        for _ in range(most):
            if not self._ready:
                return True
            handle = self._ready.popleft()
            if not handle.cancelled():
                _run(handle)
        return False

    def unwind(self) -> None:
        """Let all coroutines go, in the order in which they began; what they raise is nobody's any more.

        What one waits for ends with `Suspended`, so that its own clean-up runs, and async generators and
        cancel scopes are left by the task that entered them. Those that still wait after that are closed.
        """
        left = [task for task in sorted(self._tasks, key=hash) if not task.done()]
        if left:
            _in_place_of_the_running_loop(self, self._unwind, left)
        for task in self._tasks:
            forget(task)
        self._ready.clear()
        self._arm = _forgotten

    def _unwind(self, left: list[WorkflowTask[Any]]) -> None:
        suspended: list[asyncio.Future[Any]] = []
        for task in left:
            task._log_destroy_pending = False  # type: ignore[attr-defined]
            suspended += _suspended(task)
        self._run_ready(UNWINDING_MAX)
        for task in left:
            if not task.done():
                task.context.run(_close, task)
                task.cancel()
        self._run_ready(UNWINDING_MAX)
        for future in suspended:
            forget(future)

    def call_soon(  # type: ignore[override]
        self, callback: Callable[..., object], *args: Any, context: contextvars.Context | None = None
    ) -> asyncio.Handle:
        handle = asyncio.Handle(callback, args, self, context)
        self._ready.append(handle)
        return handle

    call_soon_threadsafe = call_soon  # type: ignore[assignment]

    def call_at(  # type: ignore[override]
        self,
        when: float,
        callback: Callable[..., object],
        *args: Any,
        context: contextvars.Context | None = None,
    ) -> asyncio.TimerHandle:
        if isnan(when):
            raise NoTime("a timer can't be set for NaN: sleep takes seconds, and timeout too")
        handle = asyncio.TimerHandle(when, callback, args, self, context)
        if when <= self.now_s:
            self._ready.append(handle)
        else:
            self._arm(handle)
        return handle

    def call_later(  # type: ignore[override]
        self,
        delay: float,
        callback: Callable[..., object],
        *args: Any,
        context: contextvars.Context | None = None,
    ) -> asyncio.TimerHandle:
        return self.call_at(self.now_s + delay, callback, *args, context=context)

    def fire(self, handle: asyncio.TimerHandle) -> None:
        """The timer is due: run it in the next `drain`, unless it was cancelled meanwhile."""
        self._ready.append(handle)

    def time(self) -> float:
        return self.now_s

    def create_future(self) -> asyncio.Future[Any]:
        return asyncio.Future(loop=self)

    def create_task(  # type: ignore[override]
        self,
        coro: Coroutine[Any, Any, T],
        *,
        name: str | None = None,
        context: contextvars.Context | None = None,
        **options: Any,
    ) -> asyncio.Task[T]:
        context = context or contextvars.copy_context()
        task = WorkflowTask(next(self._hashes), coro, context, loop=self, name=name, **options)
        self._tasks.add(task)
        return task

    def call_exception_handler(self, context: dict[str, Any]) -> None:
        """An exception that nobody awaited, for a log. Its frames hold the context, and that it."""
        context.clear()

    def get_exception_handler(self) -> _ExceptionHandler | None:
        return None

    def get_task_factory(self) -> None:
        return None

    def get_debug(self) -> bool:
        return False

    def is_running(self) -> bool:
        return True

    def is_closed(self) -> bool:
        return False

    async def shutdown_asyncgens(self) -> None:
        pass

    def _timer_handle_cancelled(self, handle: asyncio.TimerHandle) -> None:
        pass


def forget(future: asyncio.Future[Any]) -> None:
    """Let go of what it came to. An error holds the frames that it went through, and they hold the future."""
    if not future.done():
        return
    try:
        future.result()
    except BaseException as error:  # noqa: BLE001 - nobody's any more
        error.__traceback__ = error.__context__ = None


def _run(handle: asyncio.Handle) -> None:
    """A workflow that exits ends itself, not its worker: the exception is its task's by now."""
    try:
        handle._run()
    except BaseException as error:
        if is_ctrl_c(error):
            raise


def _forgotten(_: asyncio.TimerHandle) -> None:
    """A timer that nobody waits for any more."""


def _suspended(task: WorkflowTask[Any]) -> list[asyncio.Future[Any]]:
    """What it waited for, if that is no other task: then it hears of it from that one."""
    waits_for: Any = getattr(task, "_fut_waiter", None)
    if type(waits_for) is not asyncio.Future or waits_for.done():
        return []
    waits_for.set_exception(Suspended())
    return [waits_for]


def _close(task: WorkflowTask[Any]) -> None:
    coroutine = cast("Coroutine[Any, Any, Any]", task.get_coro())
    for _ in range(CLOSED_AT_MOST):
        try:
            coroutine.close()
        except RuntimeError:
            continue
        except BaseException as error:  # whatever clean-up code raises
            if is_ctrl_c(error):
                raise
        return


def _forbid(name: str) -> Callable[..., NoReturn]:
    def refuse(*_: Any, **__: Any) -> NoReturn:
        raise BadInput(
            f"a workflow can't use the event loop's {name}: threads, sockets and processes belong in a tool; "
            "await it with task.tool(...)"
        )

    return refuse


for _name in dir(asyncio.AbstractEventLoop):
    if not _name.startswith("_") and _name not in vars(WorkflowLoop):
        setattr(WorkflowLoop, _name, _forbid(_name))


def _in_place_of_the_running_loop(loop: WorkflowLoop, run: Callable[[A], R], argument: A) -> R:
    """`run(argument)`. A function and no context manager, for it is called at every event."""
    outer = events._get_running_loop()
    task = _swap_task(outer, None)
    hooks = sys.get_asyncgen_hooks()
    sys.set_asyncgen_hooks(None, None)
    events._set_running_loop(loop)
    try:
        return run(argument)
    finally:
        events._set_running_loop(outer)
        sys.set_asyncgen_hooks(*hooks)
        _swap_task(outer, task)


def _swap_task(loop: Any, task: Any) -> Any:
    if sys.version_info < (3, 12) or loop is None:
        return None
    return asyncio.tasks._swap_current_task(loop, task)
