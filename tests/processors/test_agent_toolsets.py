"""Toolsets of every kind, and what their tools may do, within a workflow that is rebuilt time and again."""

import asyncio
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from pydantic_ai import Agent, RunContext
from pydantic_ai.capabilities import Toolset
from pydantic_ai.tools import DeferredToolRequests, DeferredToolResults, ToolDefinition
from pydantic_ai.toolsets import (
    AbstractToolset,
    CombinedToolset,
    DynamicToolset,
    ExternalToolset,
    FunctionToolset,
    WrapperToolset,
)

from segue import Task
from segue.agents import Durable
from tests.agents import asked, calls, played_thrice, scripted, text


def returned(driver: Any) -> list[Any]:
    """What tools returned, as the model was told."""
    messages = driver.records("model-calls")[-1].agent.body["messages"]
    return [
        part["content"]
        for message in messages
        for part in message["parts"]
        if part["part_kind"] == "tool-return"
    ]


def eyes(id: str = "eyes") -> FunctionToolset[Any]:  # noqa: A002 - the library's name
    tools = FunctionToolset[Any](id=id)

    @tools.tool_plain
    async def look(at: str) -> str:
        return f"{id} saw {at}"

    return tools


class Loud(WrapperToolset[Any]):
    async def call_tool(self, name: str, tool_args: dict[str, Any], ctx: RunContext[Any], tool: Any) -> Any:
        return f"{await super().call_tool(name, tool_args, ctx, tool)}!"


async def described(ctx: RunContext[Any], tools: list[ToolDefinition]) -> list[ToolDefinition]:
    return [replace(tool, description="looks there") for tool in tools]


KINDS: dict[str, tuple[Callable[[], AbstractToolset[Any]], str, str]] = {
    "function": (eyes, "look", "eyes saw A"),
    "combined": (lambda: CombinedToolset([eyes(), FunctionToolset(id="none")]), "look", "eyes saw A"),
    "prefixed": (lambda: eyes().prefixed("my"), "my_look", "eyes saw A"),
    "renamed": (lambda: eyes().renamed({"gaze": "look"}), "gaze", "eyes saw A"),
    "prefixed and renamed": (
        lambda: eyes().renamed({"gaze": "look"}).prefixed("my"),
        "my_gaze",
        "eyes saw A",
    ),
    "filtered": (lambda: eyes().filtered(lambda ctx, tool: tool.name == "look"), "look", "eyes saw A"),
    "prepared": (lambda: eyes().prepared(described), "look", "eyes saw A"),
    "wrapped": (lambda: Loud(eyes()), "look", "eyes saw A!"),
    "dynamic": (lambda: DynamicToolset[Any](lambda ctx: eyes("inner"), id="eyes"), "look", "inner saw A"),
    "dynamic in each step": (
        lambda: DynamicToolset[Any](lambda ctx: eyes(f"inner{ctx.run_step}"), id="eyes", per_run_step=True),
        "look",
        "inner1 saw A",
    ),
}


@pytest.mark.parametrize("kind", KINDS)
def test_a_tool_of_each_kind_of_toolset_is_a_step(kind: str) -> None:
    make, name, says = KINDS[kind]
    model = scripted(calls(name, {"at": "A"}), text("seen"))
    agent = Agent(model, name="guide", toolsets=[make()], capabilities=[Durable()])

    async def run(task: Task) -> Any:
        return (await agent.run("go")).output

    driver = played_thrice(run, agent)
    assert driver.result().result == "seen", driver.result().problem
    assert returned(driver) == [says]
    assert sum(".call_tool" in each for each in asked(driver)) == 1


def test_a_toolset_of_a_capability_is_a_step() -> None:
    model = scripted(calls("look", {"at": "A"}), text("seen"))
    capabilities = [Toolset(eyes(), id="eyes"), Durable[Any]()]
    agent: Agent[Any, Any] = Agent(model, name="guide", capabilities=capabilities)

    async def run(task: Task) -> Any:
        return (await agent.run("go")).output

    driver = played_thrice(run, agent)
    assert returned(driver) == ["eyes saw A"], driver.result().problem


def test_a_tool_that_needs_approval_by_its_toolset_waits_for_a_person() -> None:
    model = scripted(calls("look", {"at": "A"}, {"at": "B"}), text("seen"))
    guarded = eyes().approval_required(lambda ctx, tool, args: args["at"] == "B")
    agent = Agent(model, name="guide", toolsets=[guarded], capabilities=[Durable(approver="lead")])

    async def run(task: Task) -> Any:
        return (await agent.run("go")).output

    driver = played_thrice(run, agent, answers=[True])
    assert driver.result().result == "seen", driver.result().problem
    assert sorted(returned(driver)) == ["eyes saw A", "eyes saw B"]


def test_several_approvals_are_asked_for_at_once() -> None:
    model = scripted(calls("wipe", {"at": "A"}, {"at": "B"}), text("done"))
    agent: Agent[Any, Any] = Agent(model, name="guide", capabilities=[Durable(approver="lead")])

    @agent.tool_plain(requires_approval=True)
    async def wipe(at: str) -> str:
        return f"wiped {at}"

    async def run(task: Task) -> Any:
        return (await agent.run("go")).output

    driver = played_thrice(run, agent, answers=[False, True])
    assert driver.result().result == "done", driver.result().problem
    assert returned(driver) == ["The approver refused the call.", "wiped B"]


def test_an_external_tool_is_answered_by_the_workflow() -> None:
    schema = {"type": "object", "properties": {"at": {"type": "string"}}}
    outside = ExternalToolset[Any](
        [ToolDefinition(name="survey", parameters_json_schema=schema)], id="outside"
    )
    model = scripted(calls("survey", {"at": "A"}), text("measured"))
    agent: Agent[Any, Any] = Agent(
        model,
        name="guide",
        toolsets=[outside],
        output_type=[str, DeferredToolRequests],
        capabilities=[Durable()],
    )

    async def run(task: Task) -> Any:
        first = await agent.run("go")
        [call] = first.output.calls
        await asyncio.sleep(60)
        results = DeferredToolResults(calls={call.tool_call_id: f"12 m at {call.args_as_dict()['at']}"})
        return (await agent.run(message_history=first.all_messages(), deferred_tool_results=results)).output

    driver = played_thrice(run, agent)
    assert driver.result().result == "measured", driver.result().problem
    assert returned(driver) == ["12 m at A"]


def test_an_external_toolset_may_be_given_to_a_run() -> None:
    outside = ExternalToolset[Any]([ToolDefinition(name="survey", parameters_json_schema={"type": "object"})])
    model = scripted(calls("survey", {}), text("measured"))
    agent: Agent[Any, Any] = Agent(
        model, name="guide", output_type=[str, DeferredToolRequests], capabilities=[Durable()]
    )

    async def run(task: Task) -> Any:
        first = await agent.run("go", toolsets=[outside])
        return [call.tool_name for call in first.output.calls]

    assert played_thrice(run, agent).result().result == ["survey"]


@pytest.mark.parametrize(
    "toolset", [eyes("late"), DynamicToolset[Any](lambda ctx: None, id="late")], ids=["function", "dynamic"]
)
def test_a_toolset_that_does_something_may_not_be_given_to_a_run(toolset: AbstractToolset[Any]) -> None:
    agent = Agent(scripted(text("seen")), name="guide", capabilities=[Durable()])

    async def run(task: Task) -> Any:
        from pydantic_ai.exceptions import UserError

        try:
            await agent.run("go", toolsets=[toolset])
        except UserError as error:
            return str(error)

    driver = played_thrice(run, agent)
    assert "late" in driver.result().result
