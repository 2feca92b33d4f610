"""Calls tools: typed Python functions, those of MCP servers, and operations of services by OpenAPI documents.

The libraries for the latter two are loaded by the first call that needs them.
"""

import asyncio
import inspect
from collections.abc import Callable
from typing import Any, Protocol

from pydantic import ValidationError

from segue.processors.app.app import App
from segue.processors.payloads.values import values_of
from segue.processors.routing.mcp import McpServer, McpTool
from segue.processors.routing.openapi import OpenApi, OpenApiTool
from segue.processors.routing.routes import AgentTool, ToolCandidate
from segue.processors.routing.tools import Tool
from segue.processors.stages.reply import Reply
from segue.streams.executors.arguments import bind
from segue.streams.executors.current import serve_as_current
from segue.streams.executors.threads import THREADS_MAX, Threads
from segue.streams.text.redaction import keep_secret
from segue.topics.codec import explain, json_of
from segue.topics.errors import BadInput, Permanent, UnknownName
from segue.topics.extras import require
from segue.topics.records import CallTool


class Remote(Protocol):
    """An MCP server, or a service by its OpenAPI document: whoever has tools elsewhere."""

    async def call(self, name: str, arguments: dict[str, Any], key: str, /) -> Any: ...

    async def stop(self) -> None: ...


class ToolExecutor:
    """One connection for each MCP server and each service, `opened` when it is first needed and kept."""

    def __init__(
        self,
        app: App,
        opened: Callable[[McpServer | OpenApi], Remote] | None = None,
        threads_max: int = THREADS_MAX,
    ) -> None:
        self._app = app
        self._threads = Threads(threads_max)
        self._opened = opened or _remote
        self._remotes: dict[McpServer | OpenApi, Remote] = {}

    async def start(self) -> None: ...

    async def stop(self) -> None:
        for remote in self._remotes.values():
            await remote.stop()
        self._remotes.clear()

    def candidate(self, call: CallTool) -> str:
        if call.agent is not None:
            return call.agent.name
        try:
            return self._candidate(call).name
        except UnknownName:
            return f"{call.route}[{call.candidate_index}]"

    async def __call__(self, call: CallTool) -> Reply:
        candidate = self._candidate(call)
        if isinstance(candidate, AgentTool):
            return Reply(await _of_agent(self._app, call), self.candidate(call))
        if isinstance(candidate, McpTool):
            result = await self._call_remote(candidate.server, candidate.tool, call)
        elif isinstance(candidate, OpenApiTool):
            result = await self._call_remote(candidate.api, candidate.operation, call)
        else:
            result = await _call(candidate, call, self._threads)
        return Reply(result, candidate=candidate.name)

    def _candidate(self, call: CallTool) -> ToolCandidate:
        route = self._app.tool_route(call.route)
        if call.candidate_index >= len(route.candidates):
            raise UnknownName(f"tool route {call.route!r} has no candidate {call.candidate_index} any more")
        return route.candidates[call.candidate_index]

    async def _call_remote(self, place: McpServer | OpenApi, name: str, call: CallTool) -> Any:
        if place not in self._remotes:
            made = await asyncio.to_thread(self._opened, place)
            self._remotes.setdefault(place, made)
        return await self._remotes[place].call(name, call.arguments, call.idempotency_key)


async def _of_agent(app: App, call: CallTool) -> Any:
    require("agents")
    from segue.streams.executors.agent import perform

    return await perform(app, call)


def _remote(place: McpServer | OpenApi) -> Remote:
    """In a thread, since importing takes long: the loop keeps its heartbeats."""
    if isinstance(place, OpenApi):
        from segue.streams.executors.openapi.client import Service

        return Service(place)
    from segue.streams.executors.mcp.client import Connection

    keep_secret(place.env)
    keep_secret(place.headers)
    return Connection(place)


async def _answer(function: Callable[..., Any], arguments: dict[str, Any], threads: Threads) -> Any:
    if inspect.iscoroutinefunction(function):
        return await function(**arguments)
    returned = await threads.call(function, arguments)
    return await returned if inspect.isawaitable(returned) else returned


async def _call(tool: Tool[..., Any], call: CallTool, threads: Threads) -> Any:
    arguments = bind(
        f"tool {tool.name!r}", tool.signature.parameters.values(), tool.parameters, call.arguments
    )
    serve_as_current(call)
    returned = await _answer(tool.function, arguments, threads)
    try:
        answer = values_of(tool.output).validate_returned(returned)
        json_of(answer)
        return answer
    except (ValidationError, BadInput) as error:
        fault = explain(error)
    raise Permanent(f"tool {tool.name!r} returned {type(returned).__name__}, not what it declares: {fault}")
