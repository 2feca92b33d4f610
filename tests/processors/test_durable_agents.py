"""What Pydantic AI asks of an engine for durable agents: every way out of a run is a step of the task.

Its own tests of engines (`tests/durable_exec/` there) are each written for one engine that it ships, and run
against no other. What they hold those engines to is held here, in Segue's terms.
"""

import sys
from pathlib import Path
from typing import Any, ClassVar

from fastmcp.client.transports import StdioTransport
from pydantic_ai import (
    Agent,
    ApprovalRequired,
    CallDeferred,
    DeferredToolRequests,
    ModelRetry,
    RunContext,
    ToolDenied,
)
from pydantic_ai.capabilities import AbstractCapability, durable_operation
from pydantic_ai.mcp import MCPToolset
from pydantic_ai.messages import ToolReturnPart
from pydantic_ai.tools import DeferredToolResults
from pydantic_ai.toolsets import DynamicToolset, FunctionToolset

from segue import Task, current_attempt
from segue.agents import Durable
from tests.agents import asked, calls, content_told_last, played, scripted, text

SERVER = Path(__file__).parents[1] / "executors/servers/mcp_server.py"


# ---------------------------------------------------------------- tools


def test_arguments_that_a_validator_refuses_go_back_to_the_model() -> None:
    def wet(ctx: RunContext[Any], depth: int) -> None:
        if depth < 3:
            raise ModelRetry("dig deeper")

    agent = Agent(
        scripted(calls("dig", {"depth": 1}), calls("dig", {"depth": 5}), text("water")),
        name="guide",
        capabilities=[Durable()],
    )

    @agent.tool_plain(args_validator=wet)
    async def dig(depth: int) -> str:
        return f"{depth} m"

    async def run(task: Task) -> str:
        return (await agent.run("go")).output

    driver = played(run, agent)
    assert driver.result().result == "water", driver.result().problem
    assert asked(driver).count("guide__function_toolset__<agent>.validate_args") == 2
    assert asked(driver).count("guide__function_toolset__<agent>.call_tool") == 1


def test_an_mcp_servers_instructions_listing_and_calls_are_steps(tmp_path: Path) -> None:
    command = [str(SERVER), "stdio", str(tmp_path / "log")]
    transport = StdioTransport(sys.executable, command, keep_alive=False)
    hotels: MCPToolset[Any] = MCPToolset(transport, id="hotels", include_instructions=True, init_timeout=30)
    model = scripted(calls("hotel", {"name": "Sol", "stars": 3}), text("seen"))
    agent = Agent(model, name="guide", toolsets=[hotels], capabilities=[Durable()])

    async def run(task: Task) -> str:
        return (await agent.run("go")).output

    driver = played(run, agent)
    assert driver.result().result == "seen"
    assert sorted(set(asked(driver))) == [
        "guide__mcp_server__hotels.call_tool",
        "guide__mcp_server__hotels.get_instructions",
        "guide__mcp_server__hotels.get_tools",
        "guide__model.request",
    ]


def test_a_toolset_that_is_made_for_each_run_is_listed_and_called_as_steps() -> None:
    async def look(at: int) -> str:
        return f"seen {at}"

    dynamic = DynamicToolset[Any](lambda ctx: FunctionToolset(tools=[look]), id="views")
    agent = Agent(
        scripted(calls("look", {"at": 1}), text("done")),
        name="guide",
        toolsets=[dynamic],
        capabilities=[Durable()],
    )

    async def run(task: Task) -> str:
        return (await agent.run("go")).output

    driver = played(run, agent)
    assert driver.result().result == "done", driver.result().problem
    assert content_told_last(driver) == ["seen 1"]
    assert "guide__dynamic_toolset__views.call_tool" in asked(driver)


class Archive(AbstractCapability[Any]):
    """What another capability declares to be durable, is."""

    id = "archive"
    kept: ClassVar[list[str]] = []

    @durable_operation("keep")
    async def keep(self, ctx: RunContext[Any], what: str) -> str:
        self.kept.append(current_attempt().idempotency_key)
        return f"kept {what}"

    async def after_run(self, ctx: RunContext[Any], *, result: Any) -> Any:
        await self.keep(ctx, str(result.output))
        return result


def test_an_operation_of_another_capability_is_a_step() -> None:
    archive = Archive()
    agent = Agent(scripted(text("seen")), name="guide", capabilities=[archive, Durable()])

    async def run(task: Task) -> str:
        return (await agent.run("go")).output

    driver = played(run, agent, crashes={9: 0, 11: 0})
    assert driver.result().result == "seen", driver.result().problem
    assert asked(driver)[-1] == "guide__capability__archive.keep"
    assert set(archive.kept) == {"t/1"}


# ---------------------------------------------------------------- what waits for somebody


def test_a_tool_that_asks_for_approval_by_itself_waits_for_a_person() -> None:
    paid: list[int] = []
    agent = Agent(
        scripted(calls("refund", {"amount": 5}, {"amount": 900}), text("done")),
        name="desk",
        capabilities=[Durable(approver="lead")],
    )

    @agent.tool
    async def refund(ctx: RunContext[Any], amount: int) -> str:
        if amount > 100 and not ctx.tool_call_approved:
            raise ApprovalRequired
        paid.append(amount)
        return f"paid {amount}"

    async def run(task: Task) -> str:
        return (await agent.run("go")).output

    driver = played(run, agent)
    [question] = driver.records("questions")
    assert (question.text, paid) == ("May desk call refund with amount=900?", [5])
    driver.restart()
    driver.produce("signals", {"kind": "answer", "task": "t", "step": question.step, "value": True})
    driver.run()
    assert (driver.result().result, paid) == ("done", [5, 900])


def test_what_somebody_else_does_is_waited_for_by_the_workflow() -> None:
    """An external tool ends the run; the workflow waits as it likes, and goes on with what came."""
    agent = Agent(
        scripted(calls("survey", {"site": "A"}), text("measured")),
        name="desk",
        output_type=[str, DeferredToolRequests],
        capabilities=[Durable()],
    )

    @agent.tool_plain
    async def survey(site: str) -> str:
        raise CallDeferred

    async def run(task: Task) -> Any:
        first = await agent.run("go")
        assert isinstance(first.output, DeferredToolRequests)
        [call] = first.output.calls
        results = DeferredToolResults(calls={call.tool_call_id: await task.signal("surveyed", str)})
        return (await agent.run(message_history=first.all_messages(), deferred_tool_results=results)).output

    driver = played(run, agent)
    assert driver.records("results") == []
    driver.restart()
    driver.produce("signals", {"kind": "signal", "task": "t", "name": "surveyed", "value": "12 m"})
    driver.run()
    assert driver.result().result == "measured"
    assert content_told_last(driver) == ["12 m"]


def test_refused_the_model_is_told_so() -> None:
    agent = Agent(
        scripted(calls("wipe", {}), text("so be it")), name="desk", capabilities=[Durable(approver="lead")]
    )

    @agent.tool_plain(requires_approval=True)
    async def wipe() -> str:
        raise AssertionError

    async def run(task: Task) -> list[str]:
        result = await agent.run("go")
        parts = [part for message in result.all_messages() for part in message.parts]
        return [part.outcome for part in parts if isinstance(part, ToolReturnPart)]

    driver = played(run, agent)
    [question] = driver.records("questions")
    driver.produce("signals", {"kind": "answer", "task": "t", "step": question.step, "value": False})
    driver.run()
    assert driver.result().result == ["denied"]
    assert content_told_last(driver) == [ToolDenied("The approver refused the call.").message]


# ---------------------------------------------------------------- names


def test_the_names_under_which_operations_are_recorded_stay() -> None:
    """Open tasks were asked for by these: another name would strand them."""
    hotels: MCPToolset[Any] = MCPToolset(StdioTransport("true", []), id="hotels")
    views = DynamicToolset[Any](lambda ctx: FunctionToolset(), id="views")
    agent = Agent(scripted(), name="guide", toolsets=[hotels, views], capabilities=[Archive(), Durable()])

    @agent.tool_plain
    async def look() -> str:
        return "there"

    durable = Durable[Any].from_agent(agent)
    assert durable is not None
    backend = durable.get_durable_operation_backend()
    assert sorted(backend.names()) == [
        "guide__capability__archive.keep",
        "guide__dynamic_toolset__views.call_tool",
        "guide__dynamic_toolset__views.get_tools",
        "guide__dynamic_toolset__views.validate_args",
        "guide__function_toolset__<agent>.call_tool",
        "guide__function_toolset__<agent>.validate_args",
        "guide__mcp_server__hotels.call_tool",
        "guide__mcp_server__hotels.get_instructions",
        "guide__mcp_server__hotels.get_tools",
        "guide__model.cancel_suspended_response",
        "guide__model.compact_messages",
        "guide__model.request",
        "guide__model.request_stream",
    ]
    assert [route.name for route in durable.routes()] == [
        "guide",
        "guide.archive",
        "guide.hotels",
        "guide.look",
        "guide.views",
    ]
