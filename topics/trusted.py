"""Makes records of values that are right by their types already, at a quarter of what validating them costs.

For the two records that every step takes, whose values the stages made or read themselves. Whatever comes
from outside or from user code is validated.
"""

from collections.abc import Callable
from functools import cache
from typing import Any, ParamSpec, TypeVar, cast

from segue.topics.records import Record

P = ParamSpec("P")
R = TypeVar("R", bound=Record)


def trusted(kind: Callable[P, R], *_: P.args, **fields: P.kwargs) -> R:
    """As `kind(**fields)`, checked by the type checkers alone."""
    record = object.__new__(cast("type[R]", kind))
    values = _defaults(kind).copy()
    values.update(fields)
    object.__setattr__(record, "__dict__", values)
    object.__setattr__(record, "__pydantic_fields_set__", set(fields))
    object.__setattr__(record, "__pydantic_extra__", None)
    object.__setattr__(record, "__pydantic_private__", None)
    return record


@cache
def _defaults(kind: Any) -> dict[str, Any]:
    """In the order of the fields, which is the order of the JSON."""
    return {name: field.default for name, field in kind.model_fields.items()}
