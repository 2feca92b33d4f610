"""The MCP server itself, by the official SDK: over stdin and stdout, or over streamable HTTP."""

import hmac
import socket
from importlib.metadata import version
from typing import Any

from mcp.server import Server, ServerRequestContext
from mcp.server.stdio import stdio_server
from mcp_types import CallToolRequestParams, ListToolsResult, PaginatedRequestParams
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from segue.processors.app.app import App
from segue.streams.client.client import Client
from segue.streams.mcp_server.caller import Answer, Caller
from segue.streams.mcp_server.calls import Calls, Terms
from segue.streams.mcp_server.listing import RESULT, tools_for_tasks
from segue.streams.process.http_server import LOOPBACK, listen_at, serve
from segue.topics.errors import BadInput

PATH = "/mcp"

DRAIN_S = 5
"""A call may last for days, so that a server which stops does not wait for it."""

INSTRUCTIONS = (
    "Each tool runs a durable task, which may take long and survives any crash. Give a task_id to be able to "
    f"call again after a lost connection, or to wait for the task with {RESULT}."
)


def server_of(app: App, client: Client, terms: Terms) -> Server[Any]:
    """Return the server. Raise `BadInput` if the app's workflows can't be tools."""
    calls = Calls(app, client, terms)
    listed = ListToolsResult(tools=[*(offer.tool for offer in calls.offers.values()), *tools_for_tasks()])

    async def list_tools(_: ServerRequestContext[Any], __: PaginatedRequestParams | None) -> ListToolsResult:
        return listed

    async def call_tool(context: ServerRequestContext[Any], params: CallToolRequestParams) -> Answer:
        return await calls.call(params.name, Caller(context, params))

    return Server(
        app.name,
        version=version("segue"),
        instructions=INSTRUCTIONS,
        on_list_tools=list_tools,
        on_call_tool=call_tool,
    )


async def serve_stdio(server: Server[Any]) -> None:
    """Until the client closes our stdin."""
    async with stdio_server() as (read, write):
        await server.run(read, write, server.create_initialization_options())


async def serve_http(server: Server[Any], listening: socket.socket, host: str, token: str | None) -> None:
    """Serve until cancelled. Each request must contain the `token`, as `Authorization: Bearer …`."""
    app: ASGIApp = server.streamable_http_app(streamable_http_path=PATH, host=host)
    await serve(_Guarded(app, token) if token else app, listening, DRAIN_S)


def listening_at(host: str, port: int, token: str | None) -> socket.socket:
    """Return the socket. Raise `BadInput` if other machines could call without a token, `Unavailable` if the
    port is in use."""
    if host not in LOOPBACK and token is None:
        raise BadInput(
            f"other machines can reach {host}: set SEGUE_MCP_TOKEN, which their requests must contain"
        )
    return listen_at(host, port)


class _Guarded:
    """Lets through what bears the token."""

    def __init__(self, app: ASGIApp, token: str) -> None:
        self._app = app
        self._wanted = f"Bearer {token}".encode()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and not hmac.compare_digest(_bears(scope), self._wanted):
            refused = PlainTextResponse(
                "the token is missing or wrong", 401, headers={"WWW-Authenticate": "Bearer"}
            )
            await refused(scope, receive, send)
            return
        await self._app(scope, receive, send)


def _bears(scope: Scope) -> bytes:
    return next((value for name, value in scope["headers"] if name == b"authorization"), b"")
