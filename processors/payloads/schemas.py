"""The JSON schema of a type, for a stage or a client that does not have the type."""

from collections.abc import Iterator
from enum import Enum
from typing import Any, cast

from pydantic import TypeAdapter

from segue.processors.payloads.values import values_of
from segue.processors.payloads.wire import FIELDS, has_other_aliases

TYPE_DECIDES = "The type may take what this schema does not allow."
"""The comment of such a schema: nothing may be refused by it."""

_FUNCTIONS = ("function-before", "function-wrap", "function-plain")
"""A validator that is called before pydantic's own, or in its place, may take anything."""

_SETTINGS = (
    "coerce_numbers_to_str",
    "str_to_lower",
    "str_to_upper",
    "to_lower",
    "to_upper",
    "validate_by_name",
)


def schema_of(adapter: TypeAdapter[Any]) -> dict[str, Any]:
    """Return the schema of what is read as the type, with a comment where it may allow less than the type."""
    schema = values_of(adapter).json_schema
    takes_more = any(map(_takes_more, _parts(adapter.core_schema)))
    return schema | {"$comment": TYPE_DECIDES} if takes_more else schema


def type_decides(schema: dict[str, Any]) -> bool:
    return schema.get("$comment") == TYPE_DECIDES


def _takes_more(part: dict[str, Any]) -> bool:
    if part.get("type") == "enum":
        return part["cls"]._missing_.__func__ is not Enum._missing_.__func__  # type: ignore[attr-defined]
    of_function = part.get("type") in _FUNCTIONS
    if part.get("type") in FIELDS and has_other_aliases(part):
        return True
    return of_function or part.get("regex_engine") == "python-re" or any(map(part.get, _SETTINGS))


def _parts(core_schema: Any) -> Iterator[dict[str, Any]]:
    """The objects of pydantic's own schema of a type, which is a tree."""
    match core_schema:
        case dict():
            part = cast("dict[str, Any]", core_schema)
            yield part
            for key, inner in part.items():
                if key not in ("serialization", "metadata"):
                    yield from _parts(inner)
        case list() | tuple():
            for inner in cast("list[Any]", core_schema):
                yield from _parts(inner)
        case _:
            pass
