"""Workflows that use asyncio and anyio in all ways that a workflow may, for the corpus.

Sets of coroutines, futures and cancel scopes are in most of them, and several things that end at once.
"""

import asyncio
import contextlib
import gc
import sys
from collections.abc import AsyncGenerator, AsyncIterator
from typing import Any

import anyio

from segue import StepError, Task, workflow
from tests.corpus import broken, case, flaky, patient, pay, reserve, signal, slow_to_reserve, upper

NAMES = ["o", "c", "i", "n", "e", "a", "k", "g", "m"]


@case(ends=[*sorted(name.upper() for name in NAMES)] * 2)
@workflow
async def completes_coroutines(task: Task) -> list[str]:
    """All their steps are asked for at once, in the order that `as_completed` starts them in."""
    found = [await each for each in asyncio.as_completed([task.tool(upper, name) for name in NAMES])]
    later = iter([task.tool(upper, name) for name in NAMES])
    more = [await each for each in asyncio.as_completed(later, timeout=60)]
    return [*sorted(found), *sorted(more)]


@case(ends=[9, 12, 15])
@workflow
async def completes_children_of_coroutines(task: Task) -> list[int]:
    """Where a worker was away, they may complete in another order."""

    async def one(number: int) -> int:
        await task.sleep(20 - number)
        same = await task.tool(upper, str(number))
        return int(same)

    found: list[int] = []
    completed: Any = asyncio.as_completed([one(number) for number in (15, 12, 9)])
    if sys.version_info >= (3, 13):
        found += [await each async for each in completed]
    else:
        found += [await each for each in completed]
    return sorted(found)


@case(ends=["timeout", sorted(NAMES)])
@workflow
async def completes_too_late(task: Task) -> list[Any]:
    """What is left is cancelled, each with a step of its own to clean up."""
    cleaned: list[str] = []

    async def slow(name: str) -> None:
        try:
            await task.sleep(100)
        finally:
            cleaned.append((await task.tool(upper, name)).lower())

    slow_ones = {asyncio.ensure_future(slow(name)) for name in NAMES}
    how = "in time"
    try:
        for each in asyncio.as_completed(slow_ones, timeout=2):
            await each
    except TimeoutError:
        how = "timeout"
    for left in asyncio.all_tasks() - {asyncio.current_task()}:
        left.cancel()
    await asyncio.wait(slow_ones)
    return [how, sorted(cleaned)]


@case(ends=9)
@workflow
async def waits_for_gatherings(task: Task) -> int:
    """Futures of all kinds in the sets that `asyncio.wait` is given and gives."""

    event = asyncio.Event()

    async def later(name: str) -> str:
        await event.wait()
        return name

    open_ones: set[asyncio.Future[Any]] = {
        *(asyncio.gather(later(name), later(name)) for name in NAMES[:3]),
        *(asyncio.shield(asyncio.ensure_future(later(name))) for name in NAMES[3:6]),
        *(asyncio.ensure_future(later(name)) for name in NAMES[6:]),
    }
    taken = 0
    asyncio.get_running_loop().call_later(1, event.set)
    while open_ones:
        done, open_ones = await asyncio.wait(open_ones, timeout=10, return_when=asyncio.FIRST_COMPLETED)
        for each in done:
            taken += 1
            await task.tool(upper, str(await each))
    return taken


@case(ends=[["e", "a"], "2 of 3", "in turn: 0 1 2"])
@workflow
async def primitives(task: Task) -> list[Any]:
    """Of what waits together at a condition, a barrier, an event, a queue."""
    condition, event, two = asyncio.Condition(), asyncio.Event(), asyncio.BoundedSemaphore(2)
    urgent: asyncio.PriorityQueue[tuple[int, str]] = asyncio.PriorityQueue()
    turns: list[int] = []

    async def turn(number: int) -> None:
        async with condition:
            await condition.wait_for(lambda: len(turns) == number)
            await task.tool(upper, f"turn {number}")
            turns.append(number)
            condition.notify_all()

    async def go(number: int) -> bool:
        async with two:
            await event.wait()
            return await task.tool(upper, str(number)) == str(number)

    turning = asyncio.gather(*(turn(number) for number in (2, 1, 0)))
    going = [asyncio.create_task(go(number)) for number in range(3)]
    for number, name in ((2, "a"), (1, "e")):
        await urgent.put((number, name))
    await task.sleep(1)
    event.set()
    going[2].cancel()
    gone = await asyncio.gather(*going, return_exceptions=True)
    await turning
    names = [(await urgent.get())[1] for _ in range(2)]
    return [names, f"{gone.count(True)} of 3", f"in turn: {' '.join(map(str, turns))}"]


@case(ends=["timeout", "shielded", "X"])
@workflow
async def nested_timeouts(task: Task) -> list[str]:
    log: list[str] = []
    inner = asyncio.ensure_future(task.tool(patient, "x"))
    try:
        async with asyncio.timeout(50):
            async with asyncio.timeout(1000), asyncio.TaskGroup() as group:
                for name in NAMES:
                    group.create_task(asyncio.wait_for(task.tool(patient, name), 500))
                await asyncio.shield(inner)
    except TimeoutError:
        log.append("timeout")
    log.append("cancelled" if inner.cancelled() else "shielded")
    log.append((await inner).upper())
    return log


# ---------------------------------------------------------------- anyio


@case(ends=[sorted(NAMES), "cancelled"])
@workflow
async def anyio_group_is_cancelled(task: Task) -> list[Any]:
    """Each of its tasks is in a scope of its own, and cleans up by a step."""
    cleaned: list[str] = []

    async def one(name: str) -> None:
        with anyio.move_on_after(1000):
            try:
                await anyio.sleep(500)
            finally:
                with anyio.CancelScope(shield=True):
                    await task.tool(upper, name)
                    cleaned.append(name)

    async with anyio.create_task_group() as group:
        for name in NAMES:
            group.start_soon(one, name)
        await anyio.sleep(1)
        group.cancel_scope.cancel()
    return [sorted(cleaned), "cancelled" if group.cancel_scope.cancelled_caught else "left"]


@case(ends=["broken: no x today", "ready", [0, 1, 4]])
@workflow
async def anyio_groups_and_streams(task: Task) -> list[Any]:
    log: list[Any] = []

    async def serve(*, task_status: anyio.abc.TaskStatus[str] = anyio.TASK_STATUS_IGNORED) -> None:
        await task.tool(upper, "starting")
        task_status.started("ready")
        await anyio.Event().wait()

    async def fail() -> None:
        await task.tool(broken, "x")

    try:
        async with anyio.create_task_group() as group:
            log.append(await group.start(serve))
            group.start_soon(fail)
    except* StepError as failed:
        log.insert(0, str(failed.exceptions[0]))
    giving, taking = anyio.create_memory_object_stream[int](1)
    limiter, lock = anyio.CapacityLimiter(1), anyio.Lock()

    async def give(number: int) -> None:
        async with giving.clone() as mine, limiter, lock:
            await task.tool(upper, str(number))
            await mine.send(number * number)

    async with giving, taking, anyio.create_task_group() as group:
        for number in range(3):
            group.start_soon(give, number)
        log.append(sorted([await taking.receive() for _ in range(3)]))
    return log


@case(ends=["moved on", "TimeoutError", "c"])
@workflow
async def saga_in_a_cancelled_scope(task: Task) -> list[str]:
    """What was done in the saga is undone, though the scope cancels it again and again."""
    log: list[str] = []
    with anyio.move_on_after(5) as scope:
        async with task.saga():
            await task.tool(reserve, "a")
            await task.tool(slow_to_reserve, "b")
    log.append("moved on" if scope.cancelled_caught else "in time")
    try:
        with anyio.fail_after(5):
            async with asyncio.TaskGroup() as group, task.saga():
                group.create_task(_resists(task))
                await task.tool(reserve, "d")
                await task.signal("never")
    except TimeoutError as error:
        log.append(type(error).__name__)
    async with task.saga():
        log.append((await task.tool(reserve, "c")).id)
    return log


async def _resists(task: Task) -> None:
    """Cleans up for a while, which an anyio scope around an asyncio group does not bear."""
    try:
        await task.sleep(1000)
    finally:
        await task.tool(flaky, "clean up")
        await task.sleep(60)


# ---------------------------------------------------------------- async generators


@case(ends=["A", "A", "open", "closed", "closed", "kept"])
@workflow
async def leaves_generators(task: Task) -> list[str]:
    """By a break, by an exception, and not at all."""
    log: list[str] = []

    async def letters(what: str) -> AsyncGenerator[str, None]:
        try:
            for letter in "abc":
                yield await task.tool(upper, letter)
        finally:
            await task.sleep(5)
            log.append((await task.tool(upper, what)).lower())

    async for letter in letters("closed"):
        log.append(letter)
        break
    with contextlib.suppress(KeyError):
        async for letter in letters("closed"):
            log.append(letter)
            raise KeyError
    log.append(await task.tool(flaky, "open"))
    await task.sleep(10)
    kept: list[Any] = [letters("closed later")]
    kept.append(kept)  # only the garbage collector finds it
    log.append((await anext(kept[0]))[:0] + "kept")
    return log


@case(outcome="failed", ends="pay: declined")
@workflow
async def fails_within_generators(task: Task) -> None:
    """One within the other: they are closed before the steps of the task are undone."""

    async def rooms(name: str) -> AsyncIterator[str]:
        try:
            yield (await task.tool(reserve, name)).id
        finally:
            await task.tool(upper, f"close {name}")

    async def pairs() -> AsyncIterator[tuple[str, str]]:
        try:
            async for one in rooms("a"):
                async for other in rooms("b"):
                    yield one, other
        finally:
            await task.tool(upper, "close pairs")

    async for _ in pairs():
        await task.tool(pay, 7)


@case(ends=["X", 1], signals=((30, signal("word", "x")),))
@workflow
async def collects_garbage_while_generators_are_open(task: Task) -> list[Any]:
    closed: list[int] = []

    async def numbers() -> AsyncIterator[int]:
        try:
            for number in range(3):
                yield number
        finally:
            closed.append(1)
            await task.tool(upper, "closed")

    class Holder:
        def __init__(self) -> None:
            self.itself, self.numbers = self, numbers()

    await anext(Holder().numbers)
    if task.random.random() >= 0:
        gc.collect()
    word = await task.signal("word", str)
    return [await task.tool(upper, word), len(closed) + 1]
