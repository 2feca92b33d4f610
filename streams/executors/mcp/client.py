"""Calls tools of MCP servers through the official SDK, over stdio or streamable HTTP.

A session is opened when it is first needed, and kept. When the server dies, the calls in flight fail as
retryable, and the next call opens a new session (a stdio server is started again). A server that hangs is
found out by the time-out of a call: if it does not tell its tools either, it is ended, and started again.

    it answered `isError`                                retryable, if its `_meta` does not deny it
    it refused the parameters, or lacks the tool         permanent
    it died, could not be reached, or failed otherwise   retryable
    it does not know the session (HTTP 404 or 400)       called once more in a new session, within the attempt
    its command can't be run, or it refuses our headers  permanent

`isError` is retryable because servers report with it whatever went wrong inside of the tool; arguments that
do not fit, which would fail forever, are refused here first, by the tool's input schema.
"""

import asyncio
from typing import Any, cast

from mcp import MCPError
from mcp_types import RequestParamsMeta
from pydantic import ValidationError

from segue.processors.routing.mcp import IDEMPOTENCY_KEY, McpServer
from segue.streams.executors.mcp.result import value_of
from segue.streams.executors.mcp.session import ALIVE_S_MAX, Session
from segue.topics.codec import describe
from segue.topics.errors import Permanent, Retryable

CONNECT_S_MAX = 30.0
"""A server that has not answered by then is taken to hang, whatever the policy of the call allows."""


class SessionUnknown(Exception):
    """The server no longer knows the session. Raised once at most: a new session has served nothing."""


class Connection:
    """One MCP server, with the session that is open to it, if any."""

    def __init__(
        self,
        server: McpServer,
        *,
        connect_s_max: float = CONNECT_S_MAX,
        alive_s_max: float = ALIVE_S_MAX,
    ) -> None:
        self._server = server
        self._limits_s = connect_s_max, alive_s_max
        self._session: Session | None = None
        self._room = asyncio.Semaphore(server.calls_max)

    async def call(self, tool: str, arguments: dict[str, Any], idempotency_key: str) -> Any:
        """The tool's result as a JSON value. Raises `Retryable` or `Permanent`."""
        async with self._room:
            try:
                return await self._over(self._living(), tool, arguments, idempotency_key)
            except SessionUnknown:  # the server has done nothing for the call
                return await self._over(self._living(), tool, arguments, idempotency_key)

    async def _over(self, session: Session, tool: str, arguments: dict[str, Any], key: str) -> Any:
        try:
            await session.opened()
            return await self._result(session, tool, arguments, key)
        except asyncio.CancelledError:  # by the time-out, or since the call is another worker's now
            session.doubt()
            raise

    async def _result(self, session: Session, tool: str, arguments: dict[str, Any], key: str) -> Any:
        try:
            listed = await session.accepted(tool, arguments)
            result = await session.client.call_tool(tool, arguments, meta=_meta(key))
            session.served()
        except MCPError as error:
            if session.unknown_by(error):
                await session.leave()
                raise SessionUnknown(self._server.name) from error
            if session.lost_with(error):
                await session.leave()
            raise session.meaning(error) from error
        except ValidationError as error:
            raise Permanent(f"{self._server.name}.{tool}: the server's answer: {describe(error)}") from error
        except RuntimeError as error:  # the SDK's, for a result outside of the tool's output schema
            session.forget_tools()
            raise Retryable(f"{self._server.name}.{tool}: {error}") from error
        return value_of(result, listed)

    async def stop(self) -> None:
        if self._session is not None:
            await self._session.close()
            self._session = None

    def _living(self) -> Session:
        if self._session is not None and self._session.ended:
            self._session.abandon()
            self._session = None
        if self._session is None:
            self._session = Session(self._server, *self._limits_s)
        return self._session


def _meta(idempotency_key: str) -> RequestParamsMeta:
    return cast("RequestParamsMeta", {IDEMPOTENCY_KEY: idempotency_key})
