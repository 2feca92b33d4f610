"""Values by schemas that anybody may have written."""

import asyncio
import logging
from typing import Any

import pytest
from referencing.exceptions import Unresolvable

from segue.streams.json_schema.schema import faults, unusable

DRAFT_4, DRAFT_7 = (f"http://json-schema.org/draft-0{n}/schema#" for n in (4, 7))


async def test_nothing_is_fetched_for_a_reference_to_elsewhere() -> None:
    asked: list[bytes] = []

    async def note(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked.append(await reader.readline())
        writer.close()

    async with await asyncio.start_server(note, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        schema = {"properties": {"a": {"$ref": f"http://127.0.0.1:{port}/schema.json"}}}
        with pytest.raises(Unresolvable):
            await asyncio.to_thread(faults, schema, {"a": 1})
    assert asked == []


def test_no_file_is_read_for_a_reference() -> None:
    with pytest.raises(Unresolvable):
        faults({"$ref": "file:///etc/hostname"}, 1)


def test_what_is_wrong_is_told_with_its_place() -> None:
    schema = {"properties": {"a": {"items": {"type": "integer"}}}}
    assert faults(schema, {"a": [1, "x"]}) == "a.1: 'x' is not of type 'integer'"
    assert faults(schema, {"a": [1]}) is None


MEANT: list[tuple[dict[str, Any], Any, bool]] = [
    ({"multipleOf": 0.01}, 19.99, True),
    ({"multipleOf": 0.01}, 19.999, False),
    ({"multipleOf": 0.1}, 1e300, True),
    ({"multipleOf": 7}, 7**300, True),
    ({"multipleOf": 7}, 7**300 + 1, False),
    ({"type": "integer"}, 1.0, True),
    ({"type": "integer"}, True, False),
    ({"uniqueItems": True}, [1, True, "1", None, False, 0, {"a": 1}], True),
    ({"uniqueItems": True}, [{"a": 1, "b": [2]}, {"b": [2.0], "a": 1}], False),
    ({"pattern": r"^\p{Lu}\d$"}, "É3", True),
    ({"pattern": r"^\d$"}, "3\n", False),
    ({"patternProperties": {"^x": {"type": "integer"}}}, {"x": "a", "y": "a"}, False),
    ({"patternProperties": {"^x": {}}, "additionalProperties": False}, {"x": 1}, True),
    ({"patternProperties": {"^x": {}}, "additionalProperties": False}, {"y": 1}, False),
    ({"allOf": [{"properties": {"a": {}}}], "unevaluatedProperties": False}, {"y": 1}, False),
    ({"$schema": DRAFT_7, "items": [{"type": "integer"}]}, ["x"], False),
    ({"$schema": DRAFT_7, "dependencies": {"a": ["b"]}}, {"a": 1}, False),
    ({"$schema": DRAFT_4, "minimum": 1, "exclusiveMinimum": True}, 1, False),
]


@pytest.mark.parametrize(("schema", "value", "fits"), MEANT)
def test_numbers_patterns_and_drafts_mean_what_json_schema_says(
    schema: dict[str, Any], value: Any, fits: bool
) -> None:
    assert (faults(schema, value) is None) == fits


@pytest.mark.parametrize(
    "unused", [{"pattern": "(?=a)"}, {"minimum": "3"}, {"type": "strin"}, {"multipleOf": 0}, {"required": 5}]
)
def test_a_constraint_that_can_not_be_used_leaves_the_others(unused: dict[str, Any]) -> None:
    schema = {"properties": {"a": {**unused, "enum": ["b", 1]}}}
    assert faults(schema, {"a": "b"}) is None
    assert faults(schema, {"a": 1}) is None
    assert faults(schema, {"a": "c"}) == "a: 'c' is not one of ['b', 1]"


def test_patterns_that_can_not_be_used_are_told_of_where_a_schema_is_read() -> None:
    schema: dict[str, Any] = {
        "properties": {"a": {"pattern": "(?=a)"}, "pattern": {"type": "string"}},
        "patternProperties": {"(a)\\1": {}},
        "default": {"pattern": "("},
    }
    assert unusable(schema) == [
        r"pattern '(a)\\1' is not checked: it has a backreference, which can't be matched in linear time",
        "pattern '(?=a)' is not checked: it has a lookahead or lookbehind, which can't "
        "be matched in linear time",
    ]


def test_a_value_is_checked_as_far_as_the_work_allows(caplog: pytest.LogCaptureFixture) -> None:
    schema = {"items": {"type": "integer"}}
    with caplog.at_level(logging.WARNING):
        assert faults(schema, ["x", *range(200_000)]) == "0: 'x' is not of type 'integer'"
    assert "checked only partly" in caplog.text
