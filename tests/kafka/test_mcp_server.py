"""Workflows as tools of an MCP server: the official client, both transports, a real broker and worker."""

import asyncio
import re
import sys
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2
import pytest
import pytest_asyncio
from mcp import Client as McpClient
from mcp import MCPError, StdioServerParameters
from mcp.client.streamable_http import streamable_http_client
from mcp_types import CallToolResult, ElicitRequestFormParams, ElicitResult, TextContent

from segue.processors.routing.mcp import McpServer
from segue.streams.client.client import Client
from segue.streams.executors.mcp.client import Connection
from segue.streams.kafka.provisioning import provision
from segue.streams.settings import Settings
from segue.topics.errors import Permanent, UnknownName
from segue.topics.records import Question, Status
from tests.kafka.conftest import settings_on, worker_environment

ROOT = Path(__file__).parents[2]
APP = "tests/kafka/offered"
PATIENCE_S = 90.0
TOKEN = "of-this-test"
UNCLOSED = re.compile(rb".* Unclosed AIOKafka.*\n.*\n")
"""Said by asyncio where the server is stopped while it connects."""

Filling = Callable[..., Awaitable[ElicitResult]]


@dataclass
class Place:
    settings: Settings
    client: Client
    env: dict[str, str]
    url: str

    async def run(self, *command: str, **more: Any) -> asyncio.subprocess.Process:
        return await asyncio.create_subprocess_exec(
            sys.executable, "-m", "segue.streams.cli", *command, env=self.env, cwd=ROOT, **more
        )

    def stdio(self, *options: str) -> StdioServerParameters:
        arguments = ["-m", "segue.streams.cli", "mcp", APP, *options]
        return StdioServerParameters(command=sys.executable, args=arguments, env=self.env, cwd=ROOT)

    async def question(self, task: str) -> Question:
        asking = await self._until(task, lambda status: bool(status.questions))
        return asking.questions[0]

    async def state(self, task: str, wanted: str) -> str:
        reached = await self._until(task, lambda status: status.state == wanted)
        return reached.state

    async def _until(self, task: str, holds: Callable[[Status], bool]) -> Status:
        async with asyncio.timeout(PATIENCE_S):
            while True:
                try:
                    if holds(status := await self.client.status(task)):
                        return status
                except UnknownName:
                    pass
                await asyncio.sleep(0.05)


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def place(broker: Settings, tmp_path_factory: pytest.TempPathFactory) -> AsyncGenerator[Place]:
    """One worker and one server over HTTP for all tests here: each names its own tasks."""
    settings = settings_on(broker, "offered.", tmp_path_factory.mktemp("offered"))
    await provision(settings)
    async with Client(settings) as client:
        env = worker_environment(settings) | {"SEGUE_MCP_TOKEN": TOKEN}
        there = Place(settings, client, env, "")
        worker = await there.run("worker", APP, stderr=asyncio.subprocess.DEVNULL)
        async with served(there) as url:
            there.url = url
            yield there
        worker.kill()
        await worker.wait()


@asynccontextmanager
async def served(place: Place) -> AsyncGenerator[str]:
    """The URL of a server over HTTP, in a process of its own."""
    server = await place.run("mcp", APP, "--http", "127.0.0.1:0", stderr=asyncio.subprocess.PIPE)
    assert server.stderr is not None
    async with asyncio.timeout(PATIENCE_S):
        line = (await server.stderr.readline()).decode()
    try:
        yield line.split()[-1]
    finally:
        server.terminate()
        _, errors = await server.communicate()
        assert UNCLOSED.sub(b"", errors) == b""


@asynccontextmanager
async def connected(place: Place, transport: str, *options: str, **how: Any) -> AsyncGenerator[McpClient]:
    if transport == "stdio":
        async with McpClient(place.stdio(*options), **how) as client:
            yield client
        return
    async with (
        httpx2.AsyncClient(headers={"Authorization": f"Bearer {TOKEN}"}, timeout=60, trust_env=False) as http,
        McpClient(streamable_http_client(place.url, http_client=http), **how) as client,
    ):
        yield client


WAYS = [("stdio", "auto"), ("stdio", "legacy"), ("http", "auto"), ("http", "legacy")]
"""Transports, and the protocol: that of 2026-07-28, or the one of sessions before it."""

every_way = pytest.mark.parametrize(("transport", "mode"), WAYS)
two_ways = pytest.mark.parametrize(("transport", "mode"), WAYS[1:3])


def said(result: CallToolResult) -> str:
    return "".join(block.text for block in result.content if isinstance(block, TextContent))


def filling_in(
    *contents: dict[str, Any] | None,
) -> tuple[list[ElicitRequestFormParams], Callable[..., Awaitable[ElicitResult]]]:
    """A person who fills in one form after another; None declines."""
    shown: list[ElicitRequestFormParams] = []

    async def fill(_: Any, form: ElicitRequestFormParams) -> ElicitResult:
        shown.append(form)
        content = contents[min(len(shown), len(contents)) - 1]
        return ElicitResult(action="accept", content=content) if content else ElicitResult(action="decline")

    return shown, fill


async def test_workflows_are_listed_with_their_schemas(place: Place) -> None:
    async with connected(place, "stdio") as client:
        tools = {tool.name: tool for tool in (await client.list_tools()).tools}
    assert list(tools) == [
        "approved", "book", "endless", "nights", "offer", "refused",
        "segue_result", "segue_answer", "segue_cancel",
    ]  # fmt: skip
    assert tools["offer"].description == "What a room costs a night."
    book = tools["book"].input_schema
    assert (list(book["properties"]), book["required"]) == (["room", "nights", "task_id"], ["room"])
    assert tools["offer"].input_schema["required"] == ["room"]
    assert list((tools["book"].output_schema or {})["properties"]) == ["room", "hotel"]
    assert (tools["offer"].output_schema or {})["properties"] == {"result": {"type": "integer"}}


@every_way
async def test_a_call_is_a_task_with_progress_and_a_structured_result(
    place: Place, transport: str, mode: Any
) -> None:
    told: list[str | None] = []

    async def note(progress: float, total: float | None, message: str | None) -> None:
        told.append(message)

    async with connected(place, transport, mode=mode) as client, asyncio.timeout(PATIENCE_S):
        result = await client.call_tool("offer", {"room": "single"}, progress_callback=note)
    assert (result.is_error, result.structured_content, said(result)) == (False, {"result": 60}, "60")
    task = (result.meta or {})["segue/task-id"]
    assert (await place.client.status(task)).workflow == "offer"
    assert ("task offer single" in told, "tool quote price 60" in told) == (True, True)


@every_way
async def test_a_question_becomes_a_form_and_its_answer_the_answer(
    place: Place, transport: str, mode: Any
) -> None:
    shown, fill = filling_in({"answer": "Casa do Mar"})
    async with (
        connected(place, transport, mode=mode, elicitation_callback=fill) as client,
        asyncio.timeout(PATIENCE_S),
    ):
        result = await client.call_tool("book", {"room": "double"})
    assert result.structured_content == {"room": "double", "hotel": "casa"}
    assert [form.message for form in shown] == ["Where, double? (asked of customer)"]
    assert shown[0].requested_schema["properties"]["answer"]["enum"] == ["Alba", "Casa do Mar"]


@two_ways
async def test_an_answer_that_does_not_fit_is_asked_for_again(
    place: Place, transport: str, mode: Any
) -> None:
    shown, fill = filling_in({"answer": "many"}, {"answer": 3})
    async with (
        connected(place, transport, mode=mode, elicitation_callback=fill) as client,
        asyncio.timeout(PATIENCE_S),
    ):
        result = await client.call_tool("nights")
    assert result.structured_content == {"result": 3}
    assert len(shown) == 2
    assert "'many' is not of type 'integer'" in shown[1].message


@two_ways
async def test_without_a_person_the_call_says_how_to_answer(place: Place, transport: str, mode: Any) -> None:
    task, room = f"asks-{transport}-{mode}", "single,\nor double"
    async with connected(place, transport, mode=mode) as client, asyncio.timeout(PATIENCE_S):
        asked = await client.call_tool("book", {"room": room, "task_id": task})
        answered = await client.call_tool("segue_answer", {"task_id": task, "answer": "Alba"})
        result = await client.call_tool("segue_result", {"task_id": task})
    assert asked.is_error
    assert said(asked) == (
        f"task '{task}' goes on when its question is answered: "
        "customer is asked 'Where, single,\nor double?' (Alba, Casa do Mar); "
        f"answer it with segue_answer(task_id='{task}', answer=…), and wait with segue_result"
    )
    assert (asked.meta or {})["segue/state"] == "waiting"
    assert not answered.is_error
    assert result.structured_content == {"room": room, "hotel": "alba"}


@two_ways
async def test_a_form_that_is_declined_leaves_the_question_open(
    place: Place, transport: str, mode: Any
) -> None:
    _, fill = filling_in(None)
    async with (
        connected(place, transport, mode=mode, elicitation_callback=fill) as client,
        asyncio.timeout(PATIENCE_S),
    ):
        result = await client.call_tool("book", {"room": "single"})
    assert "goes on when its question is answered" in said(result)
    assert (await place.question((result.meta or {})["segue/task-id"])).to == "customer"


async def never(_: Any, __: Any) -> ElicitResult:
    """A person who does not even look at the form."""
    return await asyncio.Future()


async def test_a_question_answered_elsewhere_withdraws_the_form(place: Place) -> None:
    async with (
        connected(place, "stdio", mode="legacy", elicitation_callback=never) as client,
        asyncio.timeout(PATIENCE_S),
    ):
        calling = asyncio.create_task(client.call_tool("book", {"room": "single", "task_id": "b-2"}))
        await place.question("b-2")
        await place.client.answer("b-2", "alba")
        assert (await calling).structured_content == {"room": "single", "hotel": "alba"}


async def test_questions_to_others_are_not_put_to_the_client(place: Place) -> None:
    shown, fill = filling_in({"answer": "sure"})
    async with (
        connected(place, "stdio", "--ask", "customer", elicitation_callback=fill) as client,
        asyncio.timeout(PATIENCE_S),
    ):
        calling = asyncio.create_task(client.call_tool("approved", {"task_id": "a-1"}))
        await place.question("a-1")
        refused = await client.call_tool("segue_answer", {"task_id": "a-1", "answer": "yes"})
        await place.client.answer("a-1", "no")
        assert (await calling).structured_content == {"result": "no"}
    assert said(refused) == "the question is for 'lead', and this server does not ask them"
    assert shown == []


async def test_a_failed_task_is_an_error_with_the_reason(place: Place) -> None:
    async with connected(place, "stdio") as client, asyncio.timeout(PATIENCE_S):
        result = await client.call_tool("refused", {"room": "suite", "task_id": "r-1"})
    assert result.is_error
    assert said(result).startswith("task 'r-1' has failed: ")
    assert "no suite anywhere" in said(result)


async def test_what_does_not_fit_is_refused_with_what_would(place: Place) -> None:
    async with connected(place, "stdio") as client, asyncio.timeout(PATIENCE_S):
        wrong = await client.call_tool("book", {"room": "single", "nights": "many"})
        missing = await client.call_tool("offer", {})
        more = await client.call_tool("offer", {"room": "single", "sauna": True})
        await client.call_tool("offer", {"room": "single", "task_id": "o-1"})
        taken = await client.call_tool("endless", {"task_id": "o-1"})
        unknown = await client.call_tool("segue_result", {"task_id": "nobody's"})
        with pytest.raises(MCPError, match="there is no tool 'sauna': choose one of approved, book"):
            await client.call_tool("sauna", {})
    assert said(wrong).startswith("the arguments do not fit book: nights: ")
    assert said(missing).startswith("the arguments do not fit offer: ")
    assert said(more) == "offer takes no argument 'sauna'"
    assert said(taken) == "task 'o-1' is one of 'offer': give another task_id"
    assert said(unknown) == 'this server has no task "nobody\'s"'


@every_way
async def test_a_cancelled_call_cancels_its_task(place: Place, transport: str, mode: Any) -> None:
    async with connected(place, transport, mode=mode) as client, asyncio.timeout(PATIENCE_S):
        before = await endless_tasks(place)
        calling = asyncio.create_task(client.call_tool("endless"))
        while not (begun := await endless_tasks(place) - before):  # noqa: ASYNC110 - of another process
            await asyncio.sleep(0.05)
        calling.cancel()
        assert await place.state(begun.pop(), "cancelled") == "cancelled"


@two_ways
async def test_a_cancelled_call_that_named_its_task_can_be_come_back_to(
    place: Place, transport: str, mode: Any
) -> None:
    task, call = f"named-{transport}-{mode}", {"room": "single", "task_id": f"named-{transport}-{mode}"}
    async with (
        connected(place, transport, mode=mode, elicitation_callback=never) as client,
        asyncio.timeout(PATIENCE_S),
    ):
        calling = asyncio.create_task(client.call_tool("book", call))
        await place.question(task)
        calling.cancel()
    await place.client.answer(task, "casa")
    await place.state(task, "succeeded")
    async with connected(place, transport, mode=mode) as client, asyncio.timeout(PATIENCE_S):
        again = await client.call_tool("book", call)
        assert again.structured_content == {"room": "single", "hotel": "casa"}
        assert (await client.call_tool("book", call)).structured_content == again.structured_content


async def test_a_task_is_cancelled_on_request(place: Place) -> None:
    async with connected(place, "http") as client, asyncio.timeout(PATIENCE_S):
        calling = asyncio.create_task(client.call_tool("endless", {"task_id": "e-1"}))
        await place.state("e-1", "running")
        await client.call_tool("segue_cancel", {"task_id": "e-1", "reason": "enough"})
        assert said(await calling) == "task 'e-1' was cancelled: enough"


async def test_a_killed_server_loses_nothing(place: Place) -> None:
    server = await place.run("mcp", APP, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE)
    assert server.stdin is not None
    initialize = (
        '{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"protocolVersion":"2025-11-25",'
        '"capabilities":{},"clientInfo":{"name":"t","version":"1"}}}\n'
        '{"jsonrpc":"2.0","method":"notifications/initialized"}\n'
        '{"jsonrpc":"2.0","id":2,"method":"tools/call","params":{"name":"endless","arguments":{"task_id":"k"}}}\n'
    )
    server.stdin.write(initialize.encode())
    await place.state("k", "running")
    server.kill()
    await server.wait()
    await place.client.cancel("k")
    async with connected(place, "stdio") as client, asyncio.timeout(PATIENCE_S):
        assert "task 'k' was cancelled" in said(await client.call_tool("endless", {"task_id": "k"}))


async def test_a_call_returns_after_what_it_may_wait_and_the_task_goes_on(place: Place) -> None:
    async with connected(place, "stdio", "--wait", "0.5") as client, asyncio.timeout(PATIENCE_S):
        result = await client.call_tool("endless", {"task_id": "w-1"})
    assert said(result).startswith("task 'w-1' has not ended, ")
    assert await place.state("w-1", "running") == "running"


async def test_tasks_of_another_tenant_are_nobody_else_s(place: Place) -> None:
    async with connected(place, "stdio", "--tenant", "acme") as client, asyncio.timeout(PATIENCE_S):
        await client.call_tool("offer", {"room": "single", "task_id": "t-1"})
    assert (await place.client.status("t-1")).tenant == "acme"
    async with connected(place, "stdio") as client, asyncio.timeout(PATIENCE_S):
        result = await client.call_tool("offer", {"room": "single", "task_id": "t-1"})
    assert said(result) == "task 't-1' is not yours: give another task_id"


async def test_a_step_of_another_segue_is_one_task_however_often_it_is_tried(place: Place) -> None:
    async with asyncio.timeout(PATIENCE_S):
        there = Connection(McpServer("there", url=place.url, headers={"Authorization": f"Bearer {TOKEN}"}))
        assert [await there.call("offer", {"room": "single"}, "t/3") for _ in range(2)] == [60, 60]
        with pytest.raises(Permanent, match="no suite anywhere"):
            await there.call("refused", {"room": "suite"}, "t/4")
        await there.stop()
    tried = [status.task for status in await place.client.statuses() if status.task.startswith("mcp:")]
    assert sorted(tried) == ["mcp:t/3:", "mcp:t/4:"]


async def test_over_http_only_who_bears_the_token_is_served(place: Place) -> None:
    async with httpx2.AsyncClient(trust_env=False) as http:
        for headers in ({}, {"Authorization": "Bearer another"}):
            assert (await http.post(place.url, json={}, headers=headers)).status_code == 401


async def endless_tasks(place: Place) -> set[str]:
    return {status.task for status in await place.client.statuses() if status.workflow == "endless"}
