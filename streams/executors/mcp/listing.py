"""Reads an MCP server's listing of tools so that one malformed tool does not hide the others.

The SDK validates a listing as a whole. Where that fails, each tool is validated alone, by the same rules, and
those that fail are left out before the SDK sees the listing. It holds for every session in the process, those
of agents' toolsets included: the SDK calls the replaced function by its module.
"""

import logging
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any, cast

from mcp_types import Tool, methods
from pydantic import ValidationError

from segue.topics.codec import describe

log = logging.getLogger(__name__)

LISTING = "tools/list"


@dataclass
class Reading:
    """The listing of one server that is read now; `left_out` says why, by the names of tools."""

    server: str
    left_out: dict[str, str] = field(default_factory=dict[str, str])


_READING: ContextVar[Reading | None] = ContextVar("segue_mcp_listing", default=None)


@contextmanager
def reading(server: str) -> Generator[Reading]:
    """Listings that are read within are that server's."""
    read = Reading(server)
    token = _READING.set(read)
    try:
        yield read
    finally:
        _READING.reset(token)


def install() -> None:
    """Replace the SDK's validation of results. Called once, when a module that opens sessions is imported."""
    if methods.validate_server_result is not _validate:
        methods.validate_server_result = _validate


_strictly = methods.validate_server_result


def _validate(method: str, version: str, data: Mapping[str, Any], **options: Any) -> None:
    try:
        _strictly(method, version, data, **options)
    except ValidationError:
        tools = data.get("tools") if method == LISTING else None
        if not isinstance(tools, list):
            raise

        def check(tool: object) -> None:
            _strictly(method, version, {**data, "tools": [tool]}, **options)

        listed = cast("list[object]", tools)
        listed[:] = _valid(listed, check)
        _strictly(method, version, data, **options)


def _valid(tools: list[object], check: Callable[[object], None]) -> list[object]:
    kept: list[object] = []
    for place, tool in enumerate(tools, 1):
        try:
            check(tool)
            Tool.model_validate(tool, by_name=False)
        except ValidationError as error:
            _leave_out(_name(tool, place), describe(error))
        else:
            kept.append(tool)
    return kept


def _name(tool: Any, place: int) -> str:
    name = cast("dict[str, Any]", tool).get("name") if isinstance(tool, dict) else None
    return name if isinstance(name, str) else f"number {place}"


def _leave_out(tool: str, why: str) -> None:
    read = _READING.get()
    server = read.server if read is not None else "of an agent"
    log.warning("MCP server %r: tool %r is left out, its listing can't be read: %s", server, tool, why)
    if read is not None:
        read.left_out[tool] = why
