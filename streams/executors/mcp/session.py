"""A session with an MCP server, from connecting to disconnecting, and what it knows of the server's tools.

It lives in a task of its own, for the SDK's cancel scopes must be left by the task that entered them; calls
are made from any task. Ending it ends a stdio server: its stdin is closed, and if it stays, it is killed with
all that it started.

The listing is kept until the server says that it has changed; before anything is refused by it, it is read
again.
"""

import asyncio
import logging
import math
from contextlib import AsyncExitStack
from typing import Any

import anyio
import httpx2
from mcp import Client, Implementation, MCPError, StdioServerParameters, stdio_client
from mcp.client import IncomingMessage, Transport
from mcp.client.streamable_http import streamable_http_client
from mcp.client.subscriptions import SubscriptionLost
from mcp_types import (
    CONNECTION_CLOSED,
    INVALID_PARAMS,
    INVALID_REQUEST,
    METHOD_NOT_FOUND,
    Tool,
    ToolListChangedNotification,
)
from mcp_types.version import MODERN_PROTOCOL_VERSIONS
from referencing.exceptions import Unresolvable

from segue.processors.routing.mcp import McpServer
from segue.streams.calls.failures import http_message, may_retry, problem_of
from segue.streams.executors.connections import spread
from segue.streams.executors.mcp import checked as mcp_checked
from segue.streams.executors.mcp import listing as mcp_listing
from segue.streams.executors.mcp import processes as mcp_processes
from segue.streams.executors.mcp.listing import reading
from segue.streams.executors.mcp.stderr import StderrTail, last_words
from segue.streams.json_schema.schema import faults, unusable
from segue.topics.errors import Permanent, Retryable, SegueError, sole

log = logging.getLogger(__name__)

mcp_checked.install()
mcp_listing.install()
mcp_processes.install()

SESSION_UNKNOWN = "Session terminated"
"""How the SDK reports a 404 within a session."""

ENDED = "Connection closed"
"""How the SDK reports the end of a connection; another message with that code is the server's own."""

UNKNOWN_STATUSES = (400, 404)
"""What servers answer to the id of a session that they do not know: 404 by the specification, 400 by many."""

LAST_WORDS_S = 0.5
"""What a dying server wrote arrives with its end, or not at all."""

ALIVE_S_MAX = 5.0
"""A server that still works tells its tools sooner than that, however long a call of one takes."""

LISTEN_AGAIN_S = 5.0

PAGES_MAX = 100
"""Of a listing: more is a server that turns in a circle."""


class Session:
    def __init__(self, server: McpServer, connect_s_max: float, alive_s_max: float) -> None:
        self._server = server
        self._connect_s_max = connect_s_max
        self._alive_s_max = alive_s_max
        self._scope = anyio.CancelScope()
        self._client: asyncio.Future[Client] = asyncio.get_running_loop().create_future()
        self._client.add_done_callback(
            lambda done: done.cancelled() or done.exception()
        )  # may be awaited by nobody
        self._tools: dict[str, Tool] = {}
        self._left_out: dict[str, str] = {}
        self._has_served = False
        self._listing = asyncio.Lock()
        self._reported: set[str] = set()
        self._doubt: asyncio.Task[None] | None = None
        self._incoming: Any = None
        self._words = StderrTail()
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

    def abandon(self) -> None:
        """Ends it, and waits for nothing."""
        self._scope.cancel()

    async def close(self) -> None:
        self._scope.cancel()
        await asyncio.wait([self._task])

    def doubt(self) -> None:
        """A call was given up: a server that does not even tell its tools any more hangs, and is ended."""
        if self._client.done() and not self.ended and self._doubt is None:
            self._doubt = asyncio.create_task(self._prove_alive())

    async def _prove_alive(self) -> None:
        try:
            async with asyncio.timeout(self._alive_s_max):
                await self.client.list_tools()
        except TimeoutError:
            log.warning("MCP server %r hangs: it is ended, and the next call starts it", self._server.name)
            self._scope.cancel()
        except Exception as error:  # noqa: BLE001 - an answer too, or its end, which is noticed elsewhere
            log.debug("MCP server %r was doubted, and said: %s", self._server.name, error)
        finally:
            self._doubt = None

    def served(self) -> None:
        """A call was answered, so the server knew the session."""
        self._has_served = True

    def unknown_by(self, error: MCPError) -> bool:
        """Whether the server, started anew, no longer knows this session: it did nothing for the call."""
        if not self._has_served or error.code in (INVALID_PARAMS, METHOD_NOT_FOUND):
            return False
        return error.message == SESSION_UNKNOWN or self._http_status in UNKNOWN_STATUSES

    def lost_with(self, error: MCPError) -> bool:
        """Whether the server is gone, or (over HTTP) was started anew and does not know this session."""
        return error.code == CONNECTION_CLOSED or error.message == SESSION_UNKNOWN

    async def leave(self) -> None:
        """Ends the session, and gives the server's last words the time to arrive."""
        self._scope.cancel()
        await asyncio.wait([self._task], timeout=LAST_WORDS_S)

    async def accepted(self, tool: str, arguments: dict[str, Any]) -> Tool:
        """The tool as it is listed. Raises `Permanent` if there is none, or its schema refuses the arguments.

        A listing that is kept may be old: nothing is refused before it has been read again. Many calls at
        once read it once.
        """
        known = self._tools
        if self._fault(tool, arguments) is not None:
            async with self._listing:
                if self._tools is known:
                    self._tools, self._left_out = await _listed(self.client, self._server.name)
                    self._report_unusable()
        if (fault := self._fault(tool, arguments)) is not None:
            raise Permanent(f"MCP server {self._server.name!r}: {fault}")
        return self._tools[tool]

    def _report_unusable(self) -> None:
        """Once in a session, what can't be checked here; the server checks it."""
        for tool in self._tools.values():
            for what in unusable([tool.input_schema, tool.output_schema]):
                sentence = f"MCP server {self._server.name!r}: tool {tool.name!r}: {what}"
                if sentence not in self._reported:
                    self._reported.add(sentence)
                    log.warning("%s", sentence)

    def forget_tools(self) -> None:
        self._tools = {}

    def meaning(self, error: MCPError) -> SegueError:
        """What an error of the protocol means for the call."""
        what = f"MCP server {self._server.name!r}: {error.message}"
        if self.lost_with(error):
            said = "" if error.message in (ENDED, SESSION_UNKNOWN) else f" ({error.message})"
            return Retryable(
                f"MCP server {self._server.name!r} ended during the call{said}{self._words.quoted()}"
            )
        if self._http_status is not None:
            status, self._http_status = self._http_status, None
            what = f"MCP server {self._server.name!r}: {http_message(status, error.message)}"
            return Retryable(what) if may_retry(status, {}) else Permanent(what)
        if error.code in (INVALID_PARAMS, INVALID_REQUEST, METHOD_NOT_FOUND):
            return Permanent(what)
        return Retryable(what)

    def _fault(self, tool: str, arguments: dict[str, Any]) -> str | None:
        if tool in self._left_out and tool not in self._tools:
            return f"tool {tool!r} can't be called, its listing can't be read: {self._left_out[tool]}"
        if tool not in self._tools:
            return f"no tool {tool!r}; there are: {', '.join(sorted(self._tools)) or 'none'}"
        try:
            fault = faults(self._tools[tool].input_schema, arguments)
        except Unresolvable as error:  # the server validates too
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
                message_handler=self._on_message,
                cache=None,
            )
            await stack.enter_async_context(client)
            self._scope.deadline = math.inf
            self._client.set_result(client)
            await self._listen(client)
            await anyio.sleep_forever()

    async def _listen(self, client: Client) -> None:
        """Since 2026-07-28 a server tells of changes only to who listens; before, it sends notifications."""
        tells = client.server_capabilities.tools
        if client.protocol_version not in MODERN_PROTOCOL_VERSIONS or not (tells and tells.list_changed):
            return
        while not self.ended:
            try:
                async with client.listen(tools_list_changed=True) as changes:
                    async for _ in changes:
                        self.forget_tools()
            except SubscriptionLost:
                pass
            except MCPError as error:
                if error.code == METHOD_NOT_FOUND:
                    return
            self.forget_tools()  # whatever changed while nobody listened
            await anyio.sleep(LISTEN_AGAIN_S)

    async def _transport(self, stack: AsyncExitStack) -> Transport:
        server = self._server
        if server.url is not None:
            client = httpx2.AsyncClient(
                headers=dict(server.headers),
                timeout=httpx2.Timeout(self._connect_s_max, read=None),
                event_hooks={"response": [self._answered]},
            )
            spread(client)
            return streamable_http_client(server.url, http_client=await stack.enter_async_context(client))
        command, *args = server.command
        parameters = StdioServerParameters(command=command, args=args, env=dict(server.env), cwd=server.cwd)
        return stdio_client(parameters, await stack.enter_async_context(last_words(server.name, self._words)))

    async def _answered(self, response: httpx2.Response) -> None:
        """The SDK turns HTTP statuses into one error code; the status says more."""
        if response.request.method == "POST":
            self._http_status = response.status_code if response.status_code >= 400 else None

    async def _on_message(self, message: IncomingMessage) -> None:
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


async def _listed(client: Client, server: str) -> tuple[dict[str, Tool], dict[str, str]]:
    """The tools by their names, and why those were left out that can't be read."""
    tools: dict[str, Tool] = {}
    seen: set[str] = set()
    cursor: str | None = None
    with reading(server) as read:
        for _ in range(PAGES_MAX):
            page = await client.list_tools(cursor=cursor)
            for tool in page.tools:
                if tool.name in tools:
                    log.warning("MCP server %r lists tool %r twice: the first counts", server, tool.name)
                tools.setdefault(tool.name, tool)
            if (cursor := page.next_cursor) is None:
                return tools, read.left_out
            if cursor in seen:
                break
            seen.add(cursor)
    raise Permanent(f"MCP server {server!r}: its listing of tools does not end, after {len(seen)} pages")
