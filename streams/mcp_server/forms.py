"""A question as the form of an elicitation, and what was filled in as the answer.

A form is flat: text, numbers, yes or no, one of several. What a question asks for beyond that is asked for
as JSON in one field of text. Whether the answer fits is judged where every answer is: `client.answers`.
"""

from typing import Any, cast

from pydantic_core import to_json

from segue.streams.client.answers import fits, json_or_text
from segue.topics.errors import BadInput
from segue.topics.records import Question

FIELD = "answer"

PRIMITIVE = ("string", "number", "integer", "boolean")

SHOWN = ("type", "title", "description", "minLength", "maxLength", "minimum", "maximum", "enum")
"""What a form may say of a field."""

Schema = dict[str, Any]


def message_of(question: Question, refused: str | None = None) -> str:
    """What the person reads. `refused` says why the answer before was none."""
    asked = f"{question.text} (asked of {question.to})"
    return f"{refused}. {asked}" if refused else asked


def form_of(question: Question) -> Schema:
    if question.options:
        labels = [option.label for option in question.options]
        return _form({FIELD: {"type": "string", "enum": labels}}, [FIELD])
    schema = question.answer or {}
    if _is_flat(schema):
        fields = {name: _displayed(field) for name, field in schema["properties"].items()}
        return _form(fields, schema.get("required", []))
    if _is_primitive(schema):
        return _form({FIELD: _displayed(schema)}, [FIELD])
    wanted = f"JSON that fits {to_json(schema).decode()}" if schema else "JSON, or text"
    return _form({FIELD: {"type": "string", "description": wanted}}, [FIELD])


def answer_in(question: Question, content: dict[str, Any]) -> Any:
    """The value that was filled in. Raises `BadInput` if the field is missing."""
    schema = question.answer or {}
    if not question.options and _is_flat(schema):
        return content
    if FIELD not in content:
        raise BadInput(f"the form has no {FIELD!r}")
    given = content[FIELD]
    if question.options:
        return next((option.value for option in question.options if option.label == given), given)
    if not isinstance(given, str) or _is_primitive(schema):
        return given
    return json_or_text(given, lambda exact: fits(question, exact))


def _form(properties: Schema, required: list[str]) -> Schema:
    return {"type": "object", "properties": properties, "required": required}


def _is_primitive(schema: Schema) -> bool:
    return schema.get("type") in PRIMITIVE


def _is_flat(schema: Schema) -> bool:
    fields = cast("Schema", schema.get("properties", {})).values()
    return schema.get("type") == "object" and bool(fields) and all(map(_is_primitive, fields))


def _displayed(schema: Schema) -> Schema:
    return {key: value for key, value in schema.items() if key in SHOWN}
