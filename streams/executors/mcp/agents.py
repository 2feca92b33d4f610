"""Calls of an agent's MCP servers: with the step's idempotency key, and failed where the connection failed.

Pydantic AI's toolset tells the model whatever error the protocol has. That is right where the server
answered: the model may have asked for what is not allowed. Where there was no answer, the attempt has failed,
and its policy decides: the model can't mend a connection.
"""

from collections.abc import Generator, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

from mcp import MCPError
from mcp_types import CONNECTION_CLOSED, INTERNAL_ERROR, REQUEST_TIMEOUT
from pydantic_ai.exceptions import ModelRetry
from pydantic_ai.mcp import MCPToolset

from segue.processors.routing.mcp import IDEMPOTENCY_KEY
from segue.streams.executors.mcp import checked as mcp_checked
from segue.streams.executors.mcp import listing as mcp_listing
from segue.streams.executors.mcp import processes as mcp_processes
from segue.streams.executors.mcp.session import SESSION_UNKNOWN
from segue.topics.errors import Retryable

NO_ANSWER = (CONNECTION_CLOSED, REQUEST_TIMEOUT)

HTTP_ERROR = "Server returned an error response"
"""How the SDK reports an HTTP status without an error of the protocol, with `INTERNAL_ERROR`."""

_KEY: ContextVar[str | None] = ContextVar("segue_agent_mcp_key", default=None)
"""Of the attempt that is served; empty for one whose calls carry no key, None outside of attempts."""


@contextmanager
def served(server: str, key: str) -> Generator[None]:
    """Within, listings are of that server, and calls carry that key, if it is not empty."""
    token = _KEY.set(key)
    try:
        with mcp_listing.reading(server):
            yield
    finally:
        _KEY.reset(token)


_call: Any = MCPToolset._call_tool_checked  # pyright: ignore[reportPrivateUsage]


async def _call_by_policy(
    toolset: Any, name: str, args: dict[str, Any], *, metadata: dict[str, Any] | None, use_task: bool
) -> Any:
    key = _KEY.get()
    if key is None:
        return await _call(toolset, name, args, metadata=metadata, use_task=use_task)
    try:
        if key:
            metadata = {IDEMPOTENCY_KEY: key, **(metadata or {})}
        return await _call(toolset, name, args, metadata=metadata, use_task=use_task)
    except (ModelRetry, MCPError) as error:
        lost = next((each for each in _causes(error) if _is_lost(each)), None)
        if lost is None:
            raise
        raise Retryable(f"MCP server {toolset.label}: no answer to {name!r}: {lost.message}") from error


def _causes(error: BaseException) -> Iterator[MCPError]:
    """The errors of the protocol in it: itself, its cause, or those of a group."""
    if isinstance(error, MCPError):
        yield error
    for within in (error.__cause__, *getattr(error, "exceptions", ())):
        if within is not None:
            yield from _causes(within)


def _is_lost(error: MCPError) -> bool:
    by_http = error.code == INTERNAL_ERROR and error.message == HTTP_ERROR
    return error.code in NO_ANSWER or error.message == SESSION_UNKNOWN or by_http


setattr(MCPToolset, "_call_tool_checked", _call_by_policy)  # noqa: B010 - a method is replaced
mcp_checked.install()
mcp_listing.install()
mcp_processes.install()
