"""An agent's MCP server that is a process: kept within a worker, and started anew when it died."""

import asyncio
import json
import os
import signal
import sys
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Any

import pytest
from fastmcp.client.transports import StdioTransport
from pydantic_ai import Agent
from pydantic_ai.mcp import MCPToolset
from pydantic_ai.messages import ModelMessage, ModelResponse, TextPart, ToolCallPart, ToolReturnPart
from pydantic_ai.models.function import AgentInfo, FunctionModel

from segue import App, Policy, Task, workflow
from segue.agents import Durable
from segue.streams.executors import ToolExecutor
from segue.topics.records import CallTool
from tests.agents import calls, content_told_last, played, scripted, text
from tests.driver import Driver

SERVER = Path(__file__).parent / "servers/mcp_server.py"


def once(messages: list[ModelMessage], info: AgentInfo) -> ModelResponse:
    parts = [part for message in messages for part in message.parts]
    seen = any(isinstance(part, ToolReturnPart) for part in parts)
    call = ToolCallPart("hotel", {"name": "Sol", "stars": 3})
    return ModelResponse(parts=[TextPart("seen") if seen else call])


class Served:
    """The app of one agent with one server, a tool executor, and the calls that the agent asks of it."""

    def __init__(self, log: Path) -> None:
        self.log = log
        self.transport: Any = StdioTransport(sys.executable, [str(SERVER), "stdio", str(log)])
        hotels: MCPToolset[Any] = MCPToolset(self.transport, id="hotels", init_timeout=30)
        agent = Agent(FunctionModel(once), name="guide", toolsets=[hotels], capabilities=[Durable()])

        @workflow
        async def ask(task: Task) -> str:
            return (await agent.run("go")).output

        self.app = App("one", workflows=[ask], agents=[agent])
        self.executor = ToolExecutor(self.app)

    async def call(self, call: CallTool) -> Any:
        return (await self.executor(call)).result

    def started(self) -> list[int]:
        """The processes that the server was, in order."""
        noted = map(json.loads, self.log.read_text().splitlines())
        return [entry["started"] for entry in noted if "started" in entry]


def asked(app: App) -> list[CallTool]:
    """The listing and the call, as the workflow asks for them."""
    driver = Driver(app)
    driver.submit("ask")
    driver.run()
    return list(driver.records("tool-calls"))


@pytest.fixture
async def served(tmp_path: Path) -> AsyncGenerator[Served]:
    there = Served(tmp_path / "log")
    await there.executor.start()
    yield there
    await there.executor.stop()
    await there.transport.close()


async def test_its_server_is_started_once_for_many_calls(served: Served) -> None:
    listing, call = await asyncio.to_thread(asked, served.app)
    served.log.write_text("")
    await served.call(listing)
    results = await asyncio.gather(*(served.call(call) for _ in range(5)))
    assert {json.dumps(result) for result in results} == {json.dumps(results[0])}
    assert len(served.started()) == 1


async def test_a_server_that_died_is_started_again(served: Served) -> None:
    _, call = await asyncio.to_thread(asked, served.app)
    served.log.write_text("")
    await served.call(call)
    os.kill(served.started()[0], signal.SIGKILL)
    await asyncio.sleep(0.5)
    await served.call(call)
    assert len(served.started()) == 2


# ---------------------------------------------------------------- faults


FAULTY = Path(__file__).parent / "servers/faulty_server.py"


def faulty(fault: str, log: Path, *answers: ModelResponse) -> Driver:
    """An agent whose server has that fault, played to its end."""
    transport = StdioTransport(sys.executable, [str(FAULTY), fault, str(log)], keep_alive=False)
    odd: MCPToolset[Any] = MCPToolset(transport, id="odd", init_timeout=60)
    durable = Durable[Any](tool_policy=Policy(retries=1))
    agent = Agent(scripted(*answers), name="guide", toolsets=[odd], capabilities=[durable])

    async def run(task: Task) -> Any:
        return (await agent.run("go")).output

    return played(run, agent)


def test_a_server_that_dies_during_a_call_is_retried_by_policy(tmp_path: Path) -> None:
    """With the key of the step; the model is not told of it."""
    log = tmp_path / "log"
    driver = faulty("dies once", log, calls("good", {}), text("seen"))
    assert driver.result().result == "seen", driver.result().problem
    called = [line for line in log.read_text().splitlines() if line.startswith("called")]
    [step] = {call.step for call in driver.records("tool-calls") if call.agent.name == "odd.good"}
    assert called == [f"called with t/{step}"] * 2
    assert content_told_last(driver) == ["done"]


def test_a_server_that_dies_at_each_call_fails_the_step(tmp_path: Path) -> None:
    driver = faulty("dies", tmp_path / "log", calls("good", {}), text("seen"))
    problem = driver.result().problem
    assert problem is not None
    assert problem.type == "Retryable"
    assert "no answer to 'good': Connection closed" in problem.message


def test_a_malformed_tool_of_an_agents_server_is_left_out(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    driver = faulty("malformed", tmp_path / "log", calls("good", {}), text("seen"))
    assert driver.result().result == "seen", driver.result().problem
    assert "MCP server 'guide.odd': tool 'no_schema' is left out" in caplog.text


def test_an_answer_that_is_nested_too_deep_fails_its_step(tmp_path: Path) -> None:
    driver = faulty("deep", tmp_path / "log", calls("good", {}), text("seen"))
    problem = driver.result().problem
    assert problem is not None
    assert "the answer of odd.good has lists and objects nested deeper than 90" in problem.message
