"""Builders of calls, with defaults."""

from typing import Any

from segue.topics.records import CallModel, CallTool


def call_model(**changes: Any) -> CallModel:
    values: dict[str, Any] = {
        "task": "t1",
        "step": 3,
        "fingerprint": "p",
        "workflow": "w",
        "route": "interpret",
        "prompt": "find me a hotel",
        "at_ms": 1,
    }
    return CallModel(**values | changes)


def call_tool(route: str, arguments: dict[str, Any] | None = None, **changes: Any) -> CallTool:
    values: dict[str, Any] = {
        "task": "t1",
        "step": 3,
        "fingerprint": "p",
        "workflow": "w",
        "route": route,
        "arguments": arguments or {},
        "at_ms": 1,
    }
    return CallTool(**values | changes)
