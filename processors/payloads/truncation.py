"""A view cut to its size: people see where a task is, however much its data has grown."""

from typing import Any, cast

from pydantic_core import to_json

from segue.topics.codec import DEPTH_MAX, too_deep
from segue.topics.descriptions import shortened

SIZES = ((4_000, 500, 50), (1_000, 100, 20), (200, 20, 8), (50, 5, 4))
"""Characters of each text, items of each list and object, and how deep they are nested: less and less."""


def cut_to(value: Any, bytes_max: int) -> Any:
    """A JSON value as it is, or with its long texts and lists cut off so that it fits."""
    for size in SIZES:
        if len(body := to_json(value)) <= bytes_max and not too_deep(body, DEPTH_MAX):
            return value
        value = _cut(value, *size)
    body = to_json(value)
    return value if len(body) <= bytes_max else shortened(body.decode(), bytes_max // 4)


def _cut(value: Any, chars: int, items: int, depth: int) -> Any:
    match value:
        case str():
            return shortened(value, chars)
        case list() | dict() if depth == 0:
            return "…"
        case list():
            listed = cast("list[object]", value)
            kept = [_cut(each, chars, items, depth - 1) for each in listed[:items]]
            return [*kept, _more(len(listed) - items)] if len(listed) > items else kept
        case dict():
            entries = list(cast("dict[str, Any]", value).items())
            first = entries[:items]
            shown = {shortened(name, chars): _cut(inner, chars, items, depth - 1) for name, inner in first}
            return shown | {"…": _more(len(entries) - items)} if len(entries) > items else shown
        case _:
            return value


def _more(number: int) -> str:
    return f"… ({number:,} more)"
