"""The options of a question: which of them an answer means."""

from collections.abc import Iterable
from typing import Any

from segue.processors.payloads.blob import unmarked
from segue.topics.records import Option


def option_with(value: Any, options: Iterable[Option]) -> Option | None:
    """The option with that value, if there is one, as it stands in the record or as it was before."""
    return next((each for each in options if _offers(each.value, value)), None)


def _offers(offered: Any, value: Any) -> bool:
    return is_same(offered, value) or is_same(unmarked(offered), value)


def is_same(one: Any, other: Any) -> bool:
    """Whether two JSON values are equal: for Python `true` is 1 as well, and a yes would be option 1."""
    kinds: set[type[Any]] = {type(one), type(other)}
    if bool in kinds:
        return one is other
    if kinds == {list}:
        return len(one) == len(other) and all(map(is_same, one, other))
    if kinds == {dict}:
        return one.keys() == other.keys() and all(is_same(one[key], other[key]) for key in one)
    return bool(one == other)
