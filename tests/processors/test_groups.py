"""Errors in a group, as task groups raise them, count like errors that are raised alone; nested ones too."""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

import anyio
import pytest

from segue import (
    App,
    ModelRoute,
    OutputRejected,
    Permanent,
    Policy,
    Retryable,
    StepError,
    Task,
    Workflow,
    check,
    tool,
    workflow,
)
from segue.processors.workflow.completion import ContinueAsNew, continue_as_new_in
from segue.streams.calls.failures import problem_of
from segue.topics.records import CallModel
from tests.driver import Driver
from tests.processors.rooms import cancel_room, reserve


@tool(retries=0)
async def broken() -> None:
    raise Permanent("closed")


@tool(retries=2)
async def both_broken() -> None:
    async def one(name: str) -> None:
        raise Permanent(f"no {name}")

    async with asyncio.TaskGroup() as group:
        group.create_task(one("room"))
        group.create_task(one("car"))


def played(run: Workflow[Any, Any], value: Any = None) -> Driver:
    driver = Driver(App("x", workflows=[run], tools=[broken, both_broken, cancel_room, reserve]))
    driver.submit(run.name, value)
    driver.run()
    return driver


# ---------------------------------------------------------------- task.continue_as_new

Grouped = Callable[[Task, Callable[[], Coroutine[Any, Any, None]]], Awaitable[None]]


async def in_a_group(task: Task, act: Callable[[], Coroutine[Any, Any, None]]) -> None:
    async with asyncio.TaskGroup() as group:
        group.create_task(task.sleep(100))
        group.create_task(act())


async def in_the_body_of_a_group(task: Task, act: Callable[[], Coroutine[Any, Any, None]]) -> None:
    async with asyncio.TaskGroup() as group:
        group.create_task(task.sleep(100))
        await act()


async def in_a_group_within_a_group(task: Task, act: Callable[[], Coroutine[Any, Any, None]]) -> None:
    async with asyncio.TaskGroup() as group:
        group.create_task(in_a_group(task, act))


async def in_a_group_of_anyio(task: Task, act: Callable[[], Coroutine[Any, Any, None]]) -> None:
    async with anyio.create_task_group() as group:
        group.start_soon(task.sleep, 100)
        group.start_soon(act)


async def in_a_saga_around_a_group(task: Task, act: Callable[[], Coroutine[Any, Any, None]]) -> None:
    async with task.saga(), asyncio.TaskGroup() as group:
        group.create_task(act())


async def twice_in_a_group(task: Task, act: Callable[[], Coroutine[Any, Any, None]]) -> None:
    async with asyncio.TaskGroup() as group:
        group.create_task(act())
        group.create_task(act())


GROUPED = [
    in_a_group,
    in_the_body_of_a_group,
    in_a_group_within_a_group,
    in_a_group_of_anyio,
    in_a_saga_around_a_group,
    twice_in_a_group,
]


@pytest.mark.parametrize("grouped", GROUPED)
def test_a_task_goes_on_anew_from_within_a_group_and_undoes_nothing(grouped: Grouped) -> None:
    @workflow
    async def run(task: Task, runs: int) -> int:
        if runs == 2:
            return runs
        await task.tool(reserve, "Faro")

        async def act() -> None:
            task.continue_as_new(runs + 1)

        await grouped(task, act)
        return -1

    driver = played(run, 0)
    assert driver.result().result == 2
    assert not [ran for ran in driver.ran if "cancel_room" in ran]


def test_a_failure_beside_it_counts() -> None:
    @workflow
    async def run(task: Task) -> None:
        await task.tool(reserve, "Faro")

        async def again() -> None:
            task.continue_as_new()

        async def fails() -> None:
            raise ValueError("no room")

        async with asyncio.TaskGroup() as group:
            group.create_task(again())
            group.create_task(fails())

    driver = played(run)
    assert driver.result().outcome == "failed"
    assert [ran for ran in driver.ran if "cancel_room" in ran]


def test_which_run_follows() -> None:
    again = ContinueAsNew(1, 1)
    assert continue_as_new_in(again) is again
    assert (
        continue_as_new_in(
            BaseExceptionGroup("", [asyncio.CancelledError(), BaseExceptionGroup("", [again])])
        )
        is again
    )
    assert continue_as_new_in(BaseExceptionGroup("", [again, ValueError()])) is None
    assert continue_as_new_in(asyncio.CancelledError()) is None
    assert continue_as_new_in(BaseExceptionGroup("", [asyncio.CancelledError()])) is None


# ---------------------------------------------------------------- a workflow's errors


def raises(error: BaseException) -> Driver:
    @workflow
    async def run(task: Task) -> None:
        await task.tool(reserve, "Faro")
        raise error

    return played(run)


def test_one_bug_in_a_group_parks() -> None:
    errors = [ValueError("a"), ExceptionGroup("", [Permanent("b"), KeyError("c")])]
    assert raises(ExceptionGroup("two", errors)).records("status", "t")[-1].state == "parked"


def test_a_group_of_what_is_on_purpose_fails() -> None:
    errors = [Permanent("a"), ExceptionGroup("", [ValueError("b")])]
    assert raises(ExceptionGroup("two", errors)).result().outcome == "failed"


def test_failures_of_a_group_are_returned_where_failures_are() -> None:
    @workflow
    async def run(task: Task) -> list[str]:
        async def grouped(*calls: Any) -> None:
            async with asyncio.TaskGroup() as group:
                for call in calls:
                    group.create_task(call)

        found = await task.gather(
            grouped(task.tool(broken)), grouped(task.tool(broken), task.tool(broken)), failures="return"
        )
        return [type(each).__name__ for each in found]

    assert played(run).result().result == ["StepError", "StepError"]


# ---------------------------------------------------------------- a tool's


def test_a_tool_whose_group_is_permanent_is_not_tried_again() -> None:
    @workflow
    async def run(task: Task) -> str:
        try:
            await task.tool(both_broken)
        except StepError as error:
            return error.problem.message
        return ""

    driver = played(run)
    assert driver.ran == ["t/0/1 both_broken"]
    assert driver.result().result == "no room; no car"


@pytest.mark.parametrize(
    ("errors", "retryable"),
    [
        ([Permanent("a"), Permanent("b")], False),
        ([Permanent("a"), Retryable("b")], False),
        ([Retryable("a"), ExceptionGroup("", [Retryable("b"), Permanent("c")])], False),
        ([Retryable("a"), Retryable("b", retry_after_s=7)], True),
        ([ValueError("a"), OSError("b")], True),
    ],
)
def test_one_that_is_permanent_is_enough(errors: list[Exception], retryable: bool) -> None:
    problem = problem_of(ExceptionGroup("several", errors))
    assert problem.retryable is retryable
    assert problem.retry_after_s == (7 if "retry_after_s" in str(vars(errors[-1])) and retryable else None)


def test_a_group_waits_for_as_long_as_any_of_it_asks() -> None:
    errors = [Retryable("a", retry_after_s=3), ExceptionGroup("", [Retryable("b", retry_after_s=7)])]
    assert problem_of(ExceptionGroup("", errors)).retry_after_s == 7


# ---------------------------------------------------------------- a check's


@check
async def refuses(output: str, errors: list[str]) -> None:
    async def one(name: str) -> None:
        raise OutputRejected(f"no {name}") if name.islower() else ValueError(name)

    async with asyncio.TaskGroup() as group:
        for name in errors:
            group.create_task(one(name))


CRITIQUES: list[tuple[list[str], list[list[str]]]] = [
    (["a", "b"], [[], ["no a; no b"]]),
    (["a", "B"], [[], []]),
    ([], [[]]),
]


@pytest.mark.parametrize(("errors", "critiques"), CRITIQUES)
def test_a_check_refuses_by_a_group_if_all_of_it_refuses(
    errors: list[str], critiques: list[list[str]]
) -> None:
    @workflow
    async def run(task: Task) -> str:
        return await task.model("say", "hello", check=refuses(errors=errors))

    asked: list[list[str]] = []

    def say(call: CallModel) -> str:
        asked.append([critique.reason for critique in call.critiques])
        return "hello"

    policy = Policy(max_reprompts=1, retries=1)
    app = App("x", workflows=[run], routes=[ModelRoute("say", ["small"], policy=policy)], checks=[refuses])
    driver = Driver(app, {"say": say})
    driver.submit(run.name)
    driver.run()
    assert asked == critiques
