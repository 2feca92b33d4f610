"""What stands for a value on one line."""

from typing import Any

import pytest
from pydantic_ai.messages import ModelResponse, TextPart, ThinkingPart, ToolCallPart
from pydantic_core import to_jsonable_python

from segue.processors.formatting import headline, preview

RESPONSE = ModelResponse(
    [
        ThinkingPart("where would it begin?"),
        TextPart("Let me\nlook."),
        ToolCallPart("health", {"service": "cart"}),
        ToolCallPart("health", '{"service": "search"}'),
        ToolCallPart("services"),
    ]
)


@pytest.mark.parametrize(
    ("value", "line"),
    [
        (None, ""),
        ({"place": "Lisbon", "nights": 7}, "place=Lisbon nights=7"),
        ([{"name": "Casa do Mar"}, {"id": 3}], "2 items: Casa do Mar, 3"),
        ({"kind": "response", "text": "of somebody else's"}, "kind=response text=of somebody else's"),
        (
            to_jsonable_python(RESPONSE),
            'Let me look., health(service=cart), health({"service": "search"}), services()',
        ),
        (
            {"result": {"service": "cart", "failing": 0.5}, "kind": "tool_return"},
            "service=cart failing=0.5",
        ),
        ({"result": None, "kind": "tool_return"}, ""),
        ({"message": "no such\nservice", "kind": "model_retry"}, "no such service"),
    ],
)
def test_a_value_is_one_line(value: Any, line: str) -> None:
    assert preview(value) == line


def test_the_headline_is_the_first_line_that_says_anything() -> None:
    assert headline("\n  May I?  \nIt costs.") == "May I?"
    assert headline(" \n") == ""
