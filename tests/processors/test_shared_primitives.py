"""A lock, queue, event or future belongs to one task: one that tasks share parks those that wait at it."""

import asyncio
from collections.abc import Callable
from typing import Any

import anyio
import pytest

from segue import App, Task, Workflow, tool, workflow
from segue.processors.event_loop.sharing import SHARED
from segue.processors.workflow.parking import DEADLOCKED
from segue.topics.records import Result, Status
from tests.driver import Driver

TASKS = 6


@tool
async def work(number: int) -> int:
    return number


def played(run: Workflow[Any, Any]) -> Driver:
    """Six tasks that begin at once."""
    driver = Driver(App("x", workflows=[run], tools=[work]))
    for number in range(TASKS):
        driver.submit(run.name, number, task=f"t{number}")
    driver.run()
    return driver


def parked(driver: Driver) -> dict[str, str]:
    """Why, by task, of those that wait for other code; the others must have succeeded."""
    results: list[Result] = driver.records("results")
    assert {result.outcome for result in results} <= {"succeeded"}
    last: dict[str, Status] = {status.task: status for status in driver.records("status")}
    still = {task: status for task, status in last.items() if status.state != "succeeded"}
    assert {status.state for status in still.values()} <= {"parked"}
    return {task: status.problem.message for task, status in still.items() if status.problem}


Made = Callable[[], Any]


@pytest.mark.parametrize(
    "make", [lambda: asyncio.Semaphore(2), lambda: anyio.Semaphore(2), lambda: anyio.CapacityLimiter(2)]
)
def test_those_that_wait_at_a_shared_semaphore_are_parked_and_the_others_go_on(make: Made) -> None:
    shared = make()

    @workflow
    async def run(task: Task, number: int) -> int:
        async with shared:
            await task.tool(work, number)
            return await task.tool(work, number)

    driver = played(run)
    why = parked(driver)
    assert len(why) == TASKS - 2
    assert all(said.startswith((DEADLOCKED, SHARED)) for said in why.values())


def test_a_task_is_not_woken_by_another_one() -> None:
    """It has a step open, so it waits; it is told when something happens to it."""
    shared: list[asyncio.Event] = []

    @workflow
    async def run(task: Task, number: int) -> int:
        if not shared:
            shared.append(asyncio.Event())
            await asyncio.gather(task.sleep(100), shared[0].wait())
            await task.tool(work, 1000)
        await task.tool(work, number)
        shared[0].set()
        return number

    driver = played(run)
    assert set(parked(driver)) == {"t0"}
    assert SHARED in parked(driver)["t0"]
    assert not [ran for ran in driver.ran if ran.startswith("t0/")]


@pytest.mark.parametrize("make", [asyncio.Queue[int], asyncio.Lock, asyncio.Condition])
def test_what_another_tasks_loop_has_is_told_without_addresses(make: Made) -> None:
    shared = make()

    @workflow
    async def run(task: Task, number: int) -> None:
        if isinstance(shared, asyncio.Queue):
            await shared.get()
        else:
            async with shared:
                await task.sleep(1)

    why = parked(played(run))
    assert len(why) >= TASKS - 1
    assert not [said for said in why.values() if "0x" in said]


def test_a_future_of_another_task_parks_whoever_awaits_it() -> None:
    shared: list[asyncio.Future[int]] = []

    @workflow
    async def run(task: Task, number: int) -> None:
        if not shared:
            shared.append(asyncio.ensure_future(task.tool(work, number)))
        await shared[0]

    driver = played(run)
    assert set(parked(driver)) == {f"t{number}" for number in range(1, TASKS)}
    assert all(SHARED in said for said in parked(driver).values())


def test_a_thread_is_refused_before_it_begins() -> None:
    @workflow
    async def run(task: Task, number: int) -> Any:
        return await anyio.to_thread.run_sync(lambda: number)

    why = parked(played(run))
    assert len(why) == TASKS
    assert all(said.startswith("a workflow can't use a thread") for said in why.values())


def test_one_that_is_made_in_the_workflow_is_its_own() -> None:
    @workflow
    async def run(task: Task, number: int) -> int:
        two, limiter = asyncio.Semaphore(2), anyio.CapacityLimiter(1)

        async def one(each: int) -> int:
            async with two, limiter:
                return await task.tool(work, each)

        return sum(await asyncio.gather(*map(one, range(4))))

    assert parked(played(run)) == {}
