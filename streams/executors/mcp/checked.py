"""Check the structured results of MCP tools as all values from outside are checked.

The SDK checks them by itself, with patterns that may take for ever. Its check is replaced for the whole
process, so that the sessions of agents have ours too.
"""

import logging
from typing import Any

from mcp import ClientSession
from referencing.exceptions import Unresolvable

from segue.streams.json_schema.schema import faults

log = logging.getLogger(__name__)


def install() -> None:
    """Replace the SDK's check. Called when a module that opens sessions is imported."""
    setattr(ClientSession, "validate_tool_result", _check)  # noqa: B010 - a method is replaced


async def _check(session: Any, name: str, result: Any) -> None:
    """Raise `RuntimeError`, as the SDK does, for a result outside of the tool's output schema."""
    known: dict[str, dict[str, Any] | None] = session._tool_output_schemas
    if name not in known:
        await session.list_tools()
    if (schema := known.get(name)) is None:
        return
    if "structured_content" not in result.model_fields_set:
        raise RuntimeError(f"tool {name!r} has an output schema, and answered without structured content")
    try:
        fault = faults(schema, result.structured_content)
    except Unresolvable as error:
        log.warning(
            "the output schema of MCP tool %r can't be read, so its result is not checked: %s", name, error
        )
        return
    if fault is not None:
        raise RuntimeError(f"tool {name!r} answered outside of its output schema: {fault}")
