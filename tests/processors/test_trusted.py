"""A trusted record is what a validated one would be."""

from typing import Any

import pytest

from segue.topics import codec
from segue.topics.records import CallTool, StepSucceeded
from segue.topics.trusted import trusted

STEP: dict[str, Any] = {"task": "t-1", "step": 3, "fingerprint": "abc", "route": "search", "at_ms": 1}
RECORDS: list[tuple[Any, dict[str, Any]]] = [
    (StepSucceeded, STEP | {"result": {"ok": [1, None]}, "candidate": "search"}),
    (CallTool, STEP | {"workflow": "six", "arguments": {"n": 1}}),
]


@pytest.mark.parametrize(("kind", "fields"), RECORDS)
def test_it_is_the_same_record(kind: Any, fields: dict[str, Any]) -> None:
    made, validated = trusted(kind, **fields), kind(**fields)
    assert made == validated
    assert repr(made) == repr(validated)
    assert codec.encode(made) == codec.encode(validated)
    assert made.model_fields_set == validated.model_fields_set
    assert made.model_copy(update={"at_ms": 2}) == validated.model_copy(update={"at_ms": 2})
