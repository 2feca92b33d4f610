"""The limits of one task: what goes over is told at its await, the same whenever the task is played again."""

import asyncio
import random
from typing import Any

from segue import App, StepError, Task, Workflow, tool, workflow
from segue.processors.limits import Limits
from segue.processors.stages.conduct import Conduct
from segue.processors.workflow.state import steps
from segue.topics.records import Submitted
from tests.builders import NOW_MS, received
from tests.driver import Driver, Memory


@tool
async def work(n: int) -> int:
    return n


@workflow
async def echoes(task: Task, n: int) -> int:
    return await task.tool(work, n=n)


def run(played: Workflow[Any, Any], value: Any = None, **limits: Any) -> Driver:
    driver = Driver(App("x", workflows=[played, echoes], tools=[work]), limits=Limits(**limits))
    driver.submit(played.name, value)
    driver.run()
    return driver


@workflow
async def goes_on(task: Task) -> str:
    try:
        for n in range(100):
            await task.tool(work, n=n)
    except StepError as error:
        await task.tool(work, n=-1)
        return f"{error} ({error.problem.type})"
    return "all"


IN_ALL = "more than 5 steps in all (steps_max): move parts of the work to child tasks"


# ---------------------------------------------------------------- it happens


def test_a_task_with_too_many_steps_is_told_at_its_await_and_may_clean_up() -> None:
    driver = run(goes_on, steps_max=5)
    assert driver.result().result == f"work: {IN_ALL} (TooManySteps)"
    assert driver.result().steps == 6
    assert len(driver.ran) == 6


def test_timers_are_steps_too() -> None:
    @workflow
    async def ticks(task: Task) -> None:
        for _ in range(100):
            await asyncio.sleep(60)

    problem = run(ticks, steps_max=5).result().problem
    assert problem is not None
    assert (problem.type, problem.message) == ("TooManySteps", f"timer: {IN_ALL}")


def test_a_workflow_that_takes_no_notice_is_ended() -> None:
    @workflow
    async def stubborn(task: Task) -> None:
        while True:
            try:
                await task.tool(work, n=1)
            except StepError:
                continue

    ended = run(stubborn, steps_max=5).result()
    assert ended.problem is not None
    assert (ended.outcome, ended.problem.type, ended.problem.message) == ("failed", "TooManySteps", IN_ALL)
    assert ended.steps == 5 + steps.CLEAN_UP_STEPS_MAX


def test_what_is_too_many_at_once_fails_alone() -> None:
    @workflow
    async def fans_out(task: Task, children: bool) -> list[int | str]:
        asked = (task.child(echoes, n) if children else task.tool(work, n=n) for n in range(5))
        first = await task.gather(*asked, failures="return")
        again = await task.gather(*(task.tool(work, n=n) for n in range(3)))
        return [each if isinstance(each, int) else each.problem.type for each in [*first, *again]]

    for children in (False, True):
        driver = run(fans_out, children, pending_steps_max=3)
        [result] = [result for result in driver.records("results") if result.task == "t"]
        assert result.result == [0, 1, 2, "TooManySteps", "TooManySteps", 0, 1, 2]


def test_ten_thousand_calls_at_once_are_allowed() -> None:
    @workflow
    async def fans_out(task: Task) -> int:
        return len(await task.gather(*(task.tool(work, n=n) for n in range(10_000))))

    conduct = Conduct(App("x", workflows=[fans_out], tools=[work]), Memory(), random.Random)
    event = Submitted(task="t", workflow="fans_out", version=1, input=None, at_ms=NOW_MS)
    asked = conduct.handle(received("events", event), NOW_MS)
    assert len([each for each in asked.publish if each.topic == "tool-calls"]) == 10_000
    conduct.close()


# ---------------------------------------------------------------- it has already happened


def test_a_limit_that_was_changed_does_not_change_a_task_that_has_begun() -> None:
    for changed in (2, 50):
        driver = Driver(App("x", workflows=[goes_on], tools=[work]), limits=Limits(steps_max=5))
        driver.submit("goes_on")
        for _ in range(12):
            driver.act()
        driver.limits = Limits(steps_max=changed)
        driver.restart()
        driver.run()
        assert driver.result().steps == 6


# ---------------------------------------------------------------- it must not happen


def test_signals_that_nobody_asks_for_are_kept_up_to_a_limit() -> None:
    @workflow
    async def hears(task: Task) -> list[str]:
        await task.signal("begin")
        return [await task.signal("go", str) for _ in range(3)]

    driver = Driver(App("x", workflows=[hears]), limits=Limits(buffered_signals_max=2))
    driver.submit("hears")
    for name, value in (("go", "a"), ("go", "b"), ("go", "c"), ("begin", None), ("go", "d")):
        driver.produce("signals", {"kind": "signal", "task": "t", "name": name, "value": value})
    driver.run()
    assert driver.result().result == ["a", "b", "d"]
    assert driver.reasons() == [
        "the task already keeps 2 signals that it has not asked for, the most that it may "
        "(buffered_signals_max): send it later"
    ]
