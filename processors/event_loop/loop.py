"""A deterministic asyncio event loop: what makes a plain coroutine replayable.

It runs ready callbacks in the order in which they became ready, until none is left, and then returns: it
never waits. Its time is the task's: it moves only when an event of the task's log says so. A timer
(`asyncio.sleep`, `asyncio.timeout`) is handed to whoever runs the loop, who makes it durable and calls it
when it is due.
Whatever would touch the world (sockets, threads, processes, signals) raises and says what to do instead.

Sets of its tasks and futures iterate in the same order in each replay (`ordered`), async generators are
closed at the same times (`generators`), and nothing else can wake what it runs.

The loop is nested inside the running one: `drain` puts it in the other's place and back. Works on
CPython 3.11 to 3.14; since 3.12 the current task is set aside as well, because 3.14 keeps it per thread.
"""

import asyncio
import contextvars
import sys
from asyncio import events
from collections import Counter, deque
from collections.abc import Callable, Coroutine, Generator
from itertools import count
from math import isnan
from typing import Any, NoReturn, TypeVar
from weakref import WeakSet
from zlib import crc32

from anyio._backends import _asyncio as anyio_tasks

from segue.processors.event_loop.generators import Generators, close_now, collector_at_rest
from segue.processors.event_loop.ordered import keep_order_in
from segue.processors.event_loop.sharing import SHARED
from segue.topics.descriptions import is_ctrl_c
from segue.topics.errors import BadInput, Suspended

T = TypeVar("T")
A = TypeVar("A")
R = TypeVar("R")

CALLBACKS_MAX = 200_000
"""So many callbacks between two events (about 0.3 s) never end: the coroutine would hold its worker."""

DELIVERIES_MAX = 500
"""So often a cancelled scope of anyio cancels what waits in it, between two events.

It does so in each cycle of the loop until the scope is left. What waits there for a step to end, in spite of
being cancelled, is cancelled again after the next event.
"""

UNWINDING_MAX = 10_000
"""So many callbacks are run while coroutines are let go."""

TASK_NUMBER_BITS = 32
"""Of a hash of 63 bits."""

TASK_NUMBER_MASK = 2**TASK_NUMBER_BITS - 1

_DELIVER = vars(anyio_tasks.CancelScope)["_deliver_cancellation"]
_BY_SCOPE = "Cancelled via cancel scope "
"""How anyio knows its own cancellations."""

_ExceptionHandler = Callable[[asyncio.AbstractEventLoop, dict[str, Any]], object]


class NoTime(BadInput, ValueError):
    """A `ValueError` as asyncio has it, and a misuse that parks the task."""


class WorkflowFuture(asyncio.Future[T]):
    """A future that hashes by a number, which it gets when it is hashed first."""

    def __hash__(self) -> int:
        return _hash_of(self)

    def __await__(self) -> Generator[Any, None, T]:
        _ensure_own(self)
        return super().__await__()

    __iter__ = __await__


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

    def __await__(self) -> Generator[Any, None, T]:
        _ensure_own(self)
        return super().__await__()

    def cancel(self, msg: Any | None = None) -> bool:
        return super().cancel(without_address(msg))


class WorkflowLoop(asyncio.AbstractEventLoop):
    """`arm` is called with each timer that is set for later than now. `name` is the same in each replay."""

    def __init__(self, arm: Callable[[asyncio.TimerHandle], None], name: str = "") -> None:
        self._arm = arm
        self._ready: deque[asyncio.Handle] = deque()
        self._hashes = count(crc32(name.encode()) >> 1 << TASK_NUMBER_BITS)
        self._tasks: WeakSet[WorkflowTask[Any]] = WeakSet()
        self._pending: set[WorkflowTask[Any]] = set()
        """Held until they are done: else the garbage collector may close one, at another time in a replay."""
        self._deliveries: Counter[anyio_tasks.CancelScope] = Counter()
        self._postponed: list[asyncio.Handle] = []
        self.generators = Generators()
        self.woken_from_outside = False
        """Something else than its own callbacks and the task's events tried to wake it, and was ignored."""
        self.now_s = 0.0

    @property
    def tasks(self) -> list[WorkflowTask[Any]]:
        """Those that are not done, in the order in which they began."""
        return sorted((task for task in self._pending if not task.done()), key=hash)

    def next_hash(self) -> int:
        return next(self._hashes)

    def drain(self) -> bool:
        """Run until nothing is ready. False if that does not come to an end by itself."""
        self._deliveries.clear()
        self._ready.extend(self._postponed)
        self._postponed.clear()
        return _in_place_of_the_running_loop(self, self._run_ready, CALLBACKS_MAX)

    def _run_ready(self, most: int) -> bool:
        with collector_at_rest():
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
        self.generators.unwind()
        if left := self.tasks:
            _in_place_of_the_running_loop(self, self._unwind, left)
        for task in self._tasks:
            forget(task)
        self._pending.clear()
        for handle in (*self._ready, *self._postponed):
            handle.cancel()
        self._ready.clear()
        self._postponed.clear()
        self._deliveries.clear()
        self._arm = _forgotten

    def _unwind(self, left: list[WorkflowTask[Any]]) -> None:
        suspended: list[asyncio.Future[Any]] = []
        for task in left:
            task._log_destroy_pending = False  # type: ignore[attr-defined]
            suspended += _suspended(task)
        self._run_ready(UNWINDING_MAX)
        for task in left:
            if not task.done():
                task.context.run(close_now, task.get_coro())
                task.cancel()
        self._run_ready(UNWINDING_MAX)
        for future in suspended:
            forget(future)

    def call_soon(  # type: ignore[override]
        self, callback: Callable[..., object], *args: Any, context: contextvars.Context | None = None
    ) -> asyncio.Handle:
        handle = asyncio.Handle(callback, args, self, context)
        running = events._get_running_loop()
        if running is not self and isinstance(running, WorkflowLoop):
            self.woken_from_outside = True
        elif getattr(callback, "__func__", None) is _DELIVER and self._delivers_too_often(callback):
            self._postponed.append(handle)
        else:
            self._ready.append(handle)
        return handle

    def call_soon_threadsafe(  # type: ignore[override]
        self, callback: Callable[..., object], *args: Any, context: contextvars.Context | None = None
    ) -> asyncio.Handle:
        """The same, but from another thread: nothing says when that would be in a replay."""
        if events._get_running_loop() is self:
            return self.call_soon(callback, *args, context=context)
        self.woken_from_outside = True
        return asyncio.Handle(callback, args, self, context)

    def _delivers_too_often(self, callback: Any) -> bool:
        scope = callback.__self__
        self._deliveries[scope] += 1
        return self._deliveries[scope] > DELIVERIES_MAX

    def call_at(  # type: ignore[override]
        self,
        when: float,
        callback: Callable[..., object],
        *args: Any,
        context: contextvars.Context | None = None,
    ) -> asyncio.TimerHandle:
        if isnan(when):
            raise NoTime("a timer can't be set for NaN: give sleep or timeout a number of seconds")
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
        """The timer is due: run it in the next `drain`, unless it was cancelled meanwhile.

        By this clock too, whose seconds are a float: whoever looks whether it is time yet finds that it is.
        """
        if handle.when() < self.now_s + 0.001:
            self.now_s = max(self.now_s, handle.when())
        self._ready.append(handle)

    def time(self) -> float:
        return self.now_s

    def create_future(self) -> asyncio.Future[Any]:
        return WorkflowFuture(loop=self)

    def create_task(  # type: ignore[override]
        self,
        coro: Coroutine[Any, Any, T],
        *,
        name: str | None = None,
        context: contextvars.Context | None = None,
        **options: Any,
    ) -> asyncio.Task[T]:
        context = context or contextvars.copy_context()
        hashed = self.next_hash()
        name = f"Task-{hashed & TASK_NUMBER_MASK}" if name is None else name
        task = WorkflowTask(hashed, coro, context, loop=self, name=name, **options)
        self._tasks.add(task)
        self._pending.add(task)
        task.add_done_callback(self._pending.discard)
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


def without_address(message: Any) -> Any:
    """The message of a cancellation; anyio's tells addresses, which differ in a replay."""
    if not (isinstance(message, str) and message.startswith(_BY_SCOPE)):
        return message
    _, reason, why = message.partition("; reason: ")
    return f"{_BY_SCOPE}of anyio{reason}{why}"


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
    if type(waits_for) not in (WorkflowFuture, asyncio.Future) or waits_for.done():
        return []
    waits_for.set_exception(Suspended())
    return [waits_for]


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


def _ensure_own(future: asyncio.Future[Any]) -> None:
    """One that belongs to another task's loop must not be touched: its waiter would hear nothing any more."""
    if future.get_loop() is not events._get_running_loop():
        raise BadInput(SHARED)


def _hash_of(future: Any) -> int:
    hashed: int | None = getattr(future, "_hashed", None)
    if hashed is None:
        loop = future.get_loop()
        hashed = loop.next_hash() if isinstance(loop, WorkflowLoop) else object.__hash__(future)
        future._hashed = hashed
    return hashed


class _ThreadOutside(anyio_tasks.WorkerThread):
    """A thread of `anyio.to_thread.run_sync`, which no workflow may start."""

    def __init__(self, *args: Any) -> None:
        if isinstance(events._get_running_loop(), WorkflowLoop):
            raise BadInput(
                "a workflow can't use a thread: threads belong in a tool; await it with task.tool(...)"
            )
        super().__init__(*args)  # pyright: ignore[reportUnknownMemberType]


anyio_tasks.__dict__["WorkerThread"] = _ThreadOutside
keep_order_in(lambda loop: isinstance(loop, WorkflowLoop), lambda loop: loop.tasks)
vars(asyncio.tasks)["_GatheringFuture"].__hash__ = _hash_of  # what `asyncio.gather` returns


def _in_place_of_the_running_loop(loop: WorkflowLoop, run: Callable[[A], R], argument: A) -> R:
    """`run(argument)`. A function and no context manager, for it is called at every event."""
    outer = events._get_running_loop()
    task = _swap_task(outer, None)
    hooks = sys.get_asyncgen_hooks()
    sys.set_asyncgen_hooks(loop.generators.begin, loop.generators.drop)
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
