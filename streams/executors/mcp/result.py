"""From the result of an MCP tool to one JSON value, or to the error that it stands for."""

import json
from typing import Any

from mcp_types import CallToolResult, TextContent, Tool

from segue.processors.routing.mcp import RETRYABLE
from segue.topics.errors import Permanent, Retryable


def value_of(result: CallToolResult, tool: Tool) -> Any:
    """A result as one JSON value: structured content, else text, else the content blocks as they are."""
    if result.is_error:
        message = text_of(result) or "the tool failed and did not say why"
        hopeless = (result.meta or {}).get(RETRYABLE) is False
        raise Permanent(message) if hopeless else Retryable(message)
    if result.structured_content is not None:
        structured = result.structured_content
        return structured["result"] if _is_wrapped(structured, tool) else structured
    if not result.content:
        return None
    if (text := text_of(result)) is None:
        return [block.model_dump(mode="json", by_alias=True, exclude_none=True) for block in result.content]
    return _json_in(text) if len(result.content) == 1 else text


def text_of(result: CallToolResult) -> str | None:
    """All content as one text; None when some of it is no text."""
    texts = [block.text for block in result.content if isinstance(block, TextContent)]
    return "\n".join(texts) if len(texts) == len(result.content) else None


def _is_wrapped(structured: Any, tool: Tool) -> bool:
    """Structured content must be an object, so servers put a list or scalar under `result`.

    FastMCP says so in the schema; the official SDK names the schema `{function}Output`.
    """
    schema = tool.output_schema or {}
    if not isinstance(structured, dict) or structured.keys() != {"result"}:
        return False
    only_result = list(schema.get("properties", {})) == ["result"]
    return bool(schema.get("x-fastmcp-wrap-result")) or (
        only_result and schema.get("title") == f"{tool.name}Output"
    )


def _json_in(text: str) -> Any:
    """An object or array that came as text; other text stays text, for `42` may well be a name."""
    if not text.lstrip().startswith(("{", "[")):
        return text
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return text
