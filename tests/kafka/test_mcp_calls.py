"""Calls that last: what the server owes its client meanwhile, by the official client in-process."""

import asyncio
from collections.abc import AsyncGenerator
from typing import Any

import pytest
import pytest_asyncio
from mcp import Client as McpClient
from mcp_types import CallToolResult, ElicitResult, TextContent

from segue import App, Task, workflow
from segue.streams.client.client import Client
from segue.streams.engine.worker import Worker
from segue.streams.mcp_server import Terms, calls, server_of, watching
from segue.streams.settings import Settings
from segue.topics.errors import UnknownName
from segue.topics.records import Answered

PATIENCE_S = 60.0


@workflow
async def stay(task: Task) -> list[Any]:
    hotel = await task.ask("customer", "Where?", answer=str)
    return [hotel, await task.ask("customer", "How many nights?", answer=int)]


@workflow
async def endless(task: Task) -> None:
    await asyncio.sleep(3600)


@workflow
async def broken(task: Task) -> None:
    raise KeyError("rooms")


APP = App("offered", workflows=[stay, endless, broken])
OTHER = App("other", workflows=[stay])


@pytest_asyncio.fixture
async def client(settings: Settings) -> AsyncGenerator[Client]:
    worker = Worker(APP, settings)
    await worker.start()
    await worker.ready()
    async with Client(settings) as there:
        yield there
    await worker.stop()


def said(result: CallToolResult) -> str:
    return "".join(block.text for block in result.content if isinstance(block, TextContent))


async def begun(client: Client, task: str) -> None:
    while True:
        try:
            await client.status(task)
        except UnknownName:
            await asyncio.sleep(0.05)
        else:
            return


async def test_a_form_is_withdrawn_once_its_question_is_answered_elsewhere(client: Client) -> None:
    """The task goes on, and its next question is put to the same person."""
    shown, withdrawn = asyncio.Event(), asyncio.Event()

    async def fill(_: Any, form: Any) -> ElicitResult:
        if form.message.startswith("Where?"):
            shown.set()
            try:
                await asyncio.Future()
            finally:
                withdrawn.set()
        await withdrawn.wait()
        return ElicitResult(action="accept", content={"answer": 3})

    how: dict[str, Any] = {"mode": "legacy", "elicitation_callback": fill}
    async with asyncio.timeout(PATIENCE_S), McpClient(server_of(APP, client, Terms()), **how) as mcp:
        calling = asyncio.create_task(mcp.call_tool("stay", {"task_id": "s-1"}))
        await shown.wait()
        await client.answer("s-1", "alba", by="kim")
        result = await calling
    assert result.structured_content == {"result": ["alba", 3]}
    events = [record.value or b"" for record in await client.history("s-1")]
    answers = [Answered.model_validate_json(event) for event in events if b'"kind":"answered"' in event]
    assert [(answer.value, answer.by) for answer in answers] == [("alba", "kim"), (3, "mcp")]


async def test_a_call_that_waits_gives_signs_of_life(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watching, "ALIVE_EVERY_S", 0.2)
    alive = asyncio.Event()

    async def note(progress: float, total: float | None, message: str | None) -> None:
        if message == "still there, and waiting":
            alive.set()

    async with asyncio.timeout(PATIENCE_S), McpClient(server_of(APP, client, Terms())) as mcp:
        calling = asyncio.create_task(mcp.call_tool("endless", {"task_id": "e-3"}, progress_callback=note))
        await alive.wait()
        await client.cancel("e-3")
        await calling


async def test_a_call_does_not_wait_until_a_bug_is_mended(client: Client) -> None:
    async with asyncio.timeout(PATIENCE_S), McpClient(server_of(APP, client, Terms())) as mcp:
        result = await mcp.call_tool("broken", {"task_id": "b-1"})
        assert (result.is_error, result.meta and result.meta["segue/state"]) == (True, "parked")
        assert said(result).startswith("task 'b-1' is parked until its code is fixed; then wait for it")
        await client.cancel("b-1")
        await client.result("b-1")
        ended = await mcp.call_tool("segue_result", {"task_id": "b-1"})
    assert said(ended) == "task 'b-1' has failed: KeyError: 'rooms'"


async def test_more_calls_than_there_is_room_for_are_told_to_come_later(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(calls, "CALLS_MAX", 1)
    async with asyncio.timeout(PATIENCE_S), McpClient(server_of(APP, client, Terms())) as mcp:
        calling = asyncio.create_task(mcp.call_tool("endless", {"task_id": "e-1"}))
        await begun(client, "e-1")
        refused = await mcp.call_tool("endless", {})
        await client.cancel("e-1")
        await calling
        again = await mcp.call_tool("segue_result", {"task_id": "e-1"})
    assert refused.is_error
    assert said(refused) == "this server is running 1 calls, its maximum: try again later"
    assert said(again).startswith("task 'e-1' was cancelled")


async def test_of_a_workflow_that_is_no_tool_here_nothing_is_told(client: Client) -> None:
    async with asyncio.timeout(PATIENCE_S), McpClient(server_of(OTHER, client, Terms())) as mcp:
        await client.start("endless", None, "e-2")
        await begun(client, "e-2")
        asked = [await mcp.call_tool(f"segue_{what}", {"task_id": "e-2"}) for what in ("result", "cancel")]
        assert (await client.status("e-2")).state == "running"
        await client.cancel("e-2")
    assert {said(each) for each in asked} == {"this server has no task 'e-2'"}
