"""An answer that the workflow could not pass on fails its step, and parks no task."""

from typing import Any

import pytest
from pydantic_ai import Agent

from segue import App, Policy, StepError, Task, tool, workflow
from segue.agents import Durable
from segue.testing import Rehearsal
from tests.agents import calls, scripted, text

NO_RETRY = Policy(retries=0)


def nested(depth: int) -> Any:
    value: Any = "the end"
    for _ in range(depth):
        value = [value]
    return value


@tool(retries=0)
async def look(depth: int) -> Any:
    return nested(depth)


@workflow
async def pass_on(task: Task, depth: int) -> Any:
    try:
        found = await task.tool(look, depth)
    except StepError as error:
        return error.problem.message
    await task.tool(look, depth=len(str(found)) % 2)
    return found


@pytest.mark.parametrize("depth", [101, 120, 140])
def test_an_answer_nested_too_deep_is_a_step_that_failed(depth: int) -> None:
    with Rehearsal(App("one", workflows=[pass_on], tools=[look])) as play:
        play.start(pass_on, depth)
        assert play.result() == "the answer of look has lists and objects nested deeper than 100"


def test_an_answer_nested_deeper_than_pydantic_writes_is_a_step_that_failed() -> None:
    with Rehearsal(App("one", workflows=[pass_on], tools=[look])) as play:
        play.start(pass_on, 400)
        assert play.result().startswith("tool 'look' returned list, not what it declares: ")
        assert len(play.calls()) == 1


def test_an_answer_nested_as_deep_as_may_be_passes() -> None:
    with Rehearsal(App("one", workflows=[pass_on], tools=[look])) as play:
        play.start(pass_on, 98)
        assert play.result() == nested(98)


@pytest.mark.parametrize(("depth", "fails"), [(80, False), (92, True), (120, True)])
def test_an_agents_tool_that_answers_too_deep_is_a_step_that_failed(depth: int, fails: bool) -> None:
    durable = Durable[Any](tool_policy=NO_RETRY)
    model = scripted(calls("gaze", {}), text("seen"))
    agent: Agent[Any, Any] = Agent(model, name="guide", capabilities=[durable])

    @agent.tool_plain
    async def gaze() -> Any:
        return nested(depth)

    @workflow
    async def ask(task: Task) -> Any:
        try:
            return (await agent.run("go")).output
        except StepError as error:
            return error.problem.message

    with Rehearsal(App("one", workflows=[ask], agents=[agent])) as play:
        play.start(ask)
        says = "the answer of gaze has lists and objects nested deeper than 90"
        assert play.result() == (says if fails else "seen")
