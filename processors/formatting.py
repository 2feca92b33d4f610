"""For people, in one line: JSON values (`place=Lisbon nights=7`, `12 items: Casa do Mar, …`), durations.

What an agent's steps came to travels as Pydantic AI writes it; of that the line has what was said, called for
(`health(service=cart), health(service=search)`) or returned.
"""

from collections.abc import Mapping, Sequence
from typing import Any, cast

from pydantic_core import to_json

NAMED_BY = ("name", "title", "label", "id")
"""The field that an object of a list is called by, the first that it has."""

LISTED_MAX = 3
TEXT_MAX = 400
"""Wider than any terminal; the screen cuts to its width."""


def preview(value: Any) -> str:
    match value:
        case None:
            return ""
        case str():
            return _cut(" ".join(value.split()))
        case {"kind": "value", "sha256": str(), "size_bytes": int(size)}:
            return f"a value of {size:,} bytes in the object store"
        case {"kind": "response", "parts": [*parts]}:
            return _cut(", ".join(filter(None, map(_part, parts))))
        case {"kind": "tool_return", "result": returned}:
            return preview(returned)
        case {"kind": "tool_failed" | "model_retry", "message": str(message)}:
            return preview(message)
        case Mapping():
            entries = cast("Mapping[str, Any]", value).items()
            return _cut(" ".join(f"{key}={_inner(inner)}" for key, inner in entries if inner is not None))
        case list() | tuple():
            return _cut(_listed(cast("Sequence[Any]", value)))
        case _:
            return _cut(to_json(value, fallback=repr).decode())


def headline(text: str) -> str:
    """The first line that says anything: what a longer text is about."""
    return next((line.strip() for line in text.splitlines() if line.strip()), "")


def _part(part: Any) -> str:
    """Of a model's response. What it was thinking is for who looks closer."""
    match part:
        case {"part_kind": "tool-call", "tool_name": str(name), "args": args}:
            return f"{name}({preview(args)})"
        case {"part_kind": "text", "content": str(text)}:
            return " ".join(text.split())
        case _:
            return ""


def usd(amount: float) -> str:
    """`$12.40`, and below a dollar three digits: `$0.0123`."""
    if amount >= 1 or not amount:
        return f"${amount:,.2f}"
    whole, _, digits = f"{float(f'{amount:.3g}'):.12f}".rstrip("0").partition(".")
    return f"${whole}.{digits:0<2}"


def duration(ms: float | None) -> str:
    """Two or three digits and a unit: `0.4 ms`, `34 ms`, `1.2 s`, `4.5 min`, `3.5 h`, `2.0 d`."""
    if ms is None:
        return ""
    for limit_ms, unit_ms, unit in (
        (1e3, 1, "ms"),
        (6e4, 1e3, "s"),
        (3.6e6, 6e4, "min"),
        (48 * 3.6e6, 3.6e6, "h"),
    ):
        if ms < limit_ms:
            return _digits(ms / unit_ms, unit)
    return _digits(ms / 86.4e6, "d")


def _digits(amount: float, unit: str) -> str:
    return f"{amount:.1f} {unit}" if amount < 10 else f"{amount:.0f} {unit}"


def _inner(value: Any) -> str:
    match value:
        case str():
            return " ".join(value.split())
        case {"kind": "value", "sha256": str(), "size_bytes": int(size)}:
            return f"{size:,} bytes"
        case Mapping():
            return _name(cast("Mapping[str, Any]", value)) or "{…}"
        case list() | tuple():
            items = cast("Sequence[Any]", value)
            return "[" + (_names(items) if len(items) <= LISTED_MAX else f"{len(items)} items") + "]"
        case _:
            return preview(value) or "null"


def _listed(items: Sequence[Any]) -> str:
    count = "1 item" if len(items) == 1 else f"{len(items)} items"
    return f"{count}: {_names(items)}" if items else "none"


def _names(items: Sequence[Any]) -> str:
    more = ", …" if len(items) > LISTED_MAX else ""
    return ", ".join(_inner(item) for item in items[:LISTED_MAX]) + more


def _name(entry: Mapping[str, Any]) -> str | None:
    return next((str(entry[key]) for key in NAMED_BY if entry.get(key) is not None), None)


def _cut(text: str) -> str:
    return text if len(text) <= TEXT_MAX else text[: TEXT_MAX - 1] + "…"
