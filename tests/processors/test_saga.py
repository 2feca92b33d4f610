"""What a task that fails undoes: the last first, each once, and what was in flight as well."""

from typing import Any

import pytest

from segue import App, BadInput, Permanent, Policy, Task, Tool, ToolRoute, Workflow, tool, workflow
from segue.topics.records import CallTool, NotUndone, Problem
from tests.corpus import APP, CASES, Case, driver
from tests.driver import Driver

STEPS_MAX = 120
"""More than a task may ask for to clean up."""


def case(name: str) -> Case:
    return next(case for case in CASES if case.name == name)


def undos(played: Driver) -> list[tuple[str, int]]:
    """The undos that were asked for, in their order, with the step that each undoes."""
    calls: list[CallTool] = played.records("tool-calls", "t")
    return [(c.route, c.undoes) for c in calls if c.undoes is not None and c.attempt == 1]


def test_a_task_that_fails_undoes_its_steps_in_reverse_and_tells_what_it_could_not() -> None:
    played = case("is_undone").play(driver())
    assert undos(played) == [("withdraw", 4), ("upper", 3), ("keep_it", 2), ("release", 1), ("release", 0)]
    problem = Problem(type="Permanent", message="no way back", retryable=False)
    assert played.result().not_undone == (NotUndone(step=2, undo="keep_it", problem=problem),)
    assert "keep_it: no way back" in played.reasons()


def test_a_step_that_failed_is_undone_by_its_key() -> None:
    played = case("is_undone").play(driver())
    withdrawn = [e.result for e in played.records("events", "t") if getattr(e, "route", None) == "withdraw"]
    assert withdrawn == ["withdrew t/4"]


def test_what_is_in_flight_when_the_task_is_cancelled_is_waited_for_and_undone() -> None:
    played = case("is_undone_when_cancelled").play(driver())
    assert undos(played) == [("release", 1), ("release", 0)]
    assert played.result().not_undone == ()


def test_a_part_is_undone_and_the_task_goes_on() -> None:
    played = case("undoes_a_part").play(driver())
    assert undos(played) == [("withdraw", 2), ("release", 1), ("release", 0)]


@tool
async def cancel(name: str) -> None: ...


@tool(undo=cancel)
async def order(name: str) -> str:
    return name


@tool(retries=0)
async def refuse() -> None:
    raise Permanent("no")


def app(*workflows: Workflow[Any, Any]) -> App:
    spare = ToolRoute("spare", [order], output=str, policy=Policy(retries=0), undo=cancel)
    return App("sagas", workflows=workflows, tools=[order, refuse], routes=[spare])


def played(run: Workflow[Any, Any], **options: Any) -> Driver:
    played = Driver(app(run), **options)
    played.submit(run.name)
    played.run()
    return played


def test_a_task_that_succeeds_undoes_nothing() -> None:
    @workflow
    async def run(task: Task) -> str:
        return await task.tool(order, "a")

    assert undos(played(run)) == []


def test_a_route_has_its_undo_by_whatever_name_it_is_called() -> None:
    @workflow
    async def run(task: Task) -> None:
        await task.tool("spare", name="a")
        await task.tool("order", name="b")
        await task.tool("refuse")

    assert undos(played(run)) == [("cancel", 1), ("cancel", 0)]


def test_more_steps_than_the_limit_are_undone_all_the_same() -> None:
    from segue.processors.limits import Limits

    @workflow
    async def run(task: Task) -> None:
        while True:
            await task.tool(order, "a")

    ended = played(run, limits=Limits(steps_max=STEPS_MAX))
    assert undos(ended) == [("cancel", number) for number in reversed(range(STEPS_MAX))]
    assert ended.result().not_undone == ()


def test_a_task_cancelled_while_it_undoes_leaves_nothing_out() -> None:
    @workflow
    async def run(task: Task) -> None:
        await task.tool(order, "a")
        await task.tool(order, "b")
        await task.tool(refuse)

    played = Driver(app(run))
    played.submit("run")
    while not undos(played):
        played.act()
    played.produce("signals", {"kind": "cancel", "task": "t", "id": "c"})
    played.run()
    assert undos(played) == [("cancel", 1), ("cancel", 0)]
    assert played.result().outcome == "cancelled"


async def plain(result: str) -> None: ...


@tool
async def two(result: str, reason: str = "") -> None: ...


async def no_tool(name: str) -> str:
    return name


def test_what_can_be_no_undo_is_refused_where_it_is_declared() -> None:
    with pytest.raises(BadInput, match="must be a @tool"):
        tool(undo=plain)(no_tool)
    with pytest.raises(BadInput, match="as its only argument"):
        tool(undo=two)(no_tool)
    with pytest.raises(BadInput, match="must be a @tool"):
        ToolRoute("r", [order], output=str, undo=plain)


def test_an_undo_is_part_of_the_app_that_its_tool_is_in() -> None:
    assert {"cancel", "order"} <= app().routes.keys()
    assert isinstance(APP.tool_route("release").candidates[0], Tool)
