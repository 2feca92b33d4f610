"""Calls tools of MCP servers through the official SDK, over stdio or streamable HTTP.

A session lives in a task of its own, for the SDK's cancel scopes must be left by the task that entered them;
calls are made from any task. It is opened when it is first needed. When the server dies, the calls in flight
fail as retryable, and the next call opens a new session (a stdio server is started again).

    it answered `isError`                                retryable, if its `_meta` does not deny it
    it refused the parameters, or lacks the tool         permanent
    it died, could not be reached, or failed otherwise   retryable
    its command can't be run, or it refuses our headers  permanent

`isError` is retryable because servers report with it whatever went wrong inside of the tool; arguments that
do not fit, which would fail forever, are refused here first, by the tool's input schema.
"""

import asyncio
import logging
import math
from contextlib import AsyncExitStack
from typing import Any, cast

import anyio
import httpx2
from jsonschema.exceptions import UnknownType
from mcp import Client, Implementation, MCPError, StdioServerParameters, stdio_client
from mcp.client import IncomingMessage, Transport
from mcp.client.streamable_http import streamable_http_client
from mcp_types import (
    CONNECTION_CLOSED,
    INVALID_PARAMS,
    INVALID_REQUEST,
    METHOD_NOT_FOUND,
    RequestParamsMeta,
    Tool,
    ToolListChangedNotification,
)
from referencing.exceptions import Unresolvable

from processors.routes import McpServer
from streams.executors.mcp_result import value_of
from streams.executors.schema import faults
from streams.executors.stderr import LastWords, last_words
from streams.problems import http_message, may_retry, problem_of, sole
from topics.errors import Permanent, Retryable, SegueError

log = logging.getLogger(__name__)

CONNECT_S_MAX = 30.0
"""A server that has not answered by then is taken to hang, whatever the policy of the call allows."""

IDEMPOTENCY_KEY = "segue/idempotency-key"
"""In the `_meta` of every call: the same for every attempt of a step."""

SESSION_UNKNOWN = "Session terminated"
"""How the SDK reports a 404 within a session."""

LAST_WORDS_S = 0.5
"""What a dying server wrote arrives with its end, or not at all."""


class Connection:
    """One MCP server, with the session that is open to it, if any."""

    def __init__(self, server: McpServer, *, connect_s_max: float = CONNECT_S_MAX) -> None:
        self._server = server
        self._connect_s_max = connect_s_max
        self._session: Session | None = None

    async def call(self, tool: str, arguments: dict[str, Any], idempotency_key: str) -> Any:
        """The tool's result as a JSON value. Raises `Retryable` or `Permanent`."""
        session = self._living()
        await session.opened()
        try:
            listed = await session.accepted(tool, arguments)
            result = await session.client.call_tool(tool, arguments, meta=_meta(idempotency_key))
        except MCPError as error:
            if session.lost_with(error):
                await session.leave()
            raise session.meaning(error) from error
        except RuntimeError as error:  # the SDK's, for a result outside of the tool's output schema
            session.forget_tools()
            raise Retryable(f"{self._server.name}.{tool}: {error}") from error
        return value_of(result, listed)

    async def stop(self) -> None:
        if self._session is not None:
            await self._session.close()
            self._session = None

    def _living(self) -> "Session":
        if self._session is None or self._session.ended:
            self._session = Session(self._server, self._connect_s_max)
        return self._session


class Session:
    """From connecting to disconnecting, in one task."""

    def __init__(self, server: McpServer, connect_s_max: float) -> None:
        self._server = server
        self._connect_s_max = connect_s_max
        self._scope = anyio.CancelScope()
        self._client: asyncio.Future[Client] = asyncio.get_running_loop().create_future()
        self._client.add_done_callback(
            lambda done: done.cancelled() or done.exception()
        )  # may be awaited by nobody
        self._tools: dict[str, Tool] = {}
        self._incoming: Any = None
        self._words = LastWords()
        self._http_status: int | None = None
        self._task = asyncio.create_task(self._live(), name=f"mcp-{server.name}")

    @property
    def client(self) -> Client:
        return self._client.result()

    @property
    def ended(self) -> bool:
        """Also when a stdio server died while nobody called it: its end of the stream is closed."""
        gone = self._incoming is not None and self._incoming.statistics().open_send_streams == 0
        return gone or self._task.done() or self._scope.cancel_called

    async def opened(self) -> None:
        await asyncio.shield(self._client)

    async def close(self) -> None:
        self._scope.cancel()
        await asyncio.wait([self._task])

    def lost_with(self, error: MCPError) -> bool:
        """Whether the server is gone, or (over HTTP) was started anew and does not know this session."""
        return error.code == CONNECTION_CLOSED or error.message == SESSION_UNKNOWN

    async def leave(self) -> None:
        """Ends the session, and gives the server's last words the time to arrive."""
        self._scope.cancel()
        await asyncio.wait([self._task], timeout=LAST_WORDS_S)

    async def accepted(self, tool: str, arguments: dict[str, Any]) -> Tool:
        """The tool as it is listed. Raises `Permanent` if there is none, or its schema refuses the arguments.

        A listing that is kept may be old: nothing is refused before it has been read again.
        """
        if self._fault(tool, arguments) is not None:
            self._tools = await _listing(self.client)
        if (fault := self._fault(tool, arguments)) is not None:
            raise Permanent(f"MCP server {self._server.name!r}: {fault}")
        return self._tools[tool]

    def forget_tools(self) -> None:
        self._tools = {}

    def meaning(self, error: MCPError) -> SegueError:
        """What an error of the protocol means for the call."""
        what = f"MCP server {self._server.name!r}: {error.message}"
        if self.lost_with(error):
            return Retryable(f"MCP server {self._server.name!r} ended during the call{self._words.quoted()}")
        if self._http_status is not None:
            status, self._http_status = self._http_status, None
            what = f"MCP server {self._server.name!r}: {http_message(status, error.message)}"
            return Retryable(what) if may_retry(status, {}) else Permanent(what)
        if error.code in (INVALID_PARAMS, INVALID_REQUEST, METHOD_NOT_FOUND):
            return Permanent(what)
        return Retryable(what)

    def _fault(self, tool: str, arguments: dict[str, Any]) -> str | None:
        if tool not in self._tools:
            return f"no tool {tool!r}; there are: {', '.join(sorted(self._tools)) or 'none'}"
        try:
            fault = faults(self._tools[tool].input_schema, arguments)
        except (Unresolvable, UnknownType) as error:  # the server validates too
            log.warning(
                "MCP server %r: the schema of tool %r can't be read: %s", self._server.name, tool, error
            )
            return None
        return f"tool {tool!r} can't be called: {fault}" if fault else None

    async def _live(self) -> None:
        try:
            with self._scope:
                self._scope.deadline = anyio.current_time() + self._connect_s_max
                await self._connect_and_stay()
            if not self._client.done():
                self._client.set_exception(self._too_slow())
        except Exception as error:  # noqa: BLE001 - whatever ended the session is told to its caller
            if self._client.done():
                log.warning(
                    "MCP server %r: the session ended: %s", self._server.name, problem_of(error).message
                )
            else:
                self._client.set_exception(self._not_started(sole(error)))
        finally:
            self._client.cancel()

    async def _connect_and_stay(self) -> None:
        async with AsyncExitStack() as stack:
            client = Client(
                _Watched(await self._transport(stack), self),
                client_info=Implementation(name="segue", version="1"),
                message_handler=self._heard,
                cache=None,
            )
            await stack.enter_async_context(client)
            self._scope.deadline = math.inf
            self._client.set_result(client)
            await anyio.sleep_forever()

    async def _transport(self, stack: AsyncExitStack) -> Transport:
        server = self._server
        if server.url is not None:
            client = httpx2.AsyncClient(
                headers=dict(server.headers),
                timeout=httpx2.Timeout(self._connect_s_max, read=None),
                event_hooks={"response": [self._answered]},
            )
            return streamable_http_client(server.url, http_client=await stack.enter_async_context(client))
        command, *args = server.command
        parameters = StdioServerParameters(command=command, args=args, env=dict(server.env), cwd=server.cwd)
        return stdio_client(parameters, await stack.enter_async_context(last_words(server.name, self._words)))

    async def _answered(self, response: httpx2.Response) -> None:
        """The SDK turns HTTP statuses into one error code; the status says more."""
        if response.request.method == "POST":
            self._http_status = response.status_code if response.status_code >= 400 else None

    async def _heard(self, message: IncomingMessage) -> None:
        if isinstance(message, ToolListChangedNotification):
            self.forget_tools()

    def watch(self, incoming: Any) -> None:
        self._incoming = incoming if self._server.command else None

    def _too_slow(self) -> SegueError:
        what = (
            f"MCP server {self._server.name!r} did not answer within {self._connect_s_max:g} s of its start"
        )
        return Retryable(what + self._words.quoted())

    def _not_started(self, error: BaseException) -> SegueError:
        """Why there is no session: for the call that needed it."""
        if isinstance(error, FileNotFoundError | PermissionError) and self._server.command:
            return Permanent(f"MCP server {self._server.name!r} can't be started: {error}")
        if isinstance(error, MCPError):
            return self._refused_to_start(error)
        problem = problem_of(error)
        what = f"MCP server {self._server.name!r} can't be reached: {problem.message}"
        return Retryable(what, retry_after_s=problem.retry_after_s) if problem.retryable else Permanent(what)

    def _refused_to_start(self, error: MCPError) -> SegueError:
        if error.code == CONNECTION_CLOSED:
            return Retryable(f"MCP server {self._server.name!r} ended at its start{self._words.quoted()}")
        return self.meaning(error)


class _Watched:
    """A transport whose incoming stream the session may look at, to see whether the server is gone."""

    def __init__(self, transport: Transport, session: Session) -> None:
        self._transport = transport
        self._session = session

    async def __aenter__(self) -> Any:
        streams = await self._transport.__aenter__()
        self._session.watch(streams[0])
        return streams

    async def __aexit__(self, *reason: Any) -> bool | None:
        return await self._transport.__aexit__(*reason)


def _meta(idempotency_key: str) -> RequestParamsMeta:
    return cast("RequestParamsMeta", {IDEMPOTENCY_KEY: idempotency_key})


async def _listing(client: Client) -> dict[str, Tool]:
    tools: dict[str, Tool] = {}
    cursor: str | None = None
    while True:
        page = await client.list_tools(cursor=cursor)
        tools |= {tool.name: tool for tool in page.tools}
        if (cursor := page.next_cursor) is None:
            return tools
