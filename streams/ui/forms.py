"""A question as a form of HTML, and what was filled in as the answer.

An option is a button. Any other answer has the fields that its JSON schema asks for: one for text, a number,
a choice or a yes; one for each property of a flat object; JSON in a field of text for all else. Whether the
answer fits is judged where every answer is, in `segue.streams.client.answers`.
"""

from collections.abc import Mapping
from typing import Any, Literal, NamedTuple, cast
from urllib.parse import parse_qsl

from pydantic_core import to_json
from starlette.requests import Request

from segue.streams.client.answers import json_or_text
from segue.topics.errors import BadInput
from segue.topics.records import Question

Form = Mapping[str, str]

FORM_BYTES_MAX = 3_000_000
"""Of a form's body: an answer as large as a record, each byte of it escaped by three."""

FIELDS_MAX = 200

VALUE = "value"
"""The field of an answer, and what goes before the names of an object's properties."""


class Field(NamedTuple):
    """`choices` are of a `select`; `hint` says what fits, `given` what stands there at first."""

    name: str
    kind: Literal["text", "number", "checkbox", "select", "json"]
    title: str = ""
    hint: str = ""
    choices: tuple[str, ...] = ()
    given: str = ""


async def form_of(request: Request) -> dict[str, str]:
    """Raises `BadInput` for what no form of ours sends."""
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > FORM_BYTES_MAX:
            raise BadInput(f"more than {FORM_BYTES_MAX:,} bytes: keep large data elsewhere")
    try:
        return dict(parse_qsl(body.decode(), keep_blank_values=True, max_num_fields=FIELDS_MAX))
    except ValueError as error:
        raise BadInput(f"the request is not a valid form: {error}") from None


def fields_of(question: Question) -> list[Field]:
    """There are none where an option has to be chosen."""
    if question.answer is None:
        return [] if question.options else [Field(VALUE, "json", hint="text, or JSON")]
    schema = question.answer
    if not _is_flat(schema):
        return [_field(VALUE, schema, "")]
    return [_field(f"{VALUE}.{name}", inner, name) for name, inner in schema["properties"].items()]


def answer_in(question: Question, form: Form) -> Any:
    """What was meant. Raises `BadInput` if nothing was."""
    if "option" in form:
        return _option(question, form["option"])
    schema = question.answer
    if schema is None or not _is_flat(schema):
        return _value(schema or {}, form, VALUE)
    names = cast("dict[str, Any]", schema["properties"])
    given = {name: _value(inner, form, f"{VALUE}.{name}") for name, inner in names.items()}
    return {name: value for name, value in given.items() if value != "" or _is_needed_text(schema, name)}


def _option(question: Question, number: str) -> Any:
    values = {str(position): option.value for position, option in enumerate(question.options)}
    if number not in values:
        raise BadInput("the answer is not one of the options: choose one")
    return values[number]


def _field(name: str, schema: dict[str, Any], title: str) -> Field:
    """What has no default has to be chosen, or filled in."""
    schema = _without_null(schema)
    shown, given = str(schema.get("title", title) if title else ""), _as_given(schema.get("default"))
    field = Field(name, "json", shown, str(schema.get("description", "")), given=given)
    match schema:
        case {"enum": [*choices]} if all(isinstance(choice, str) for choice in choices):
            return field._replace(kind="select", choices=(*([] if given else [""]), *choices))
        case {"type": "string"}:
            return field._replace(kind="text")
        case {"type": "boolean"}:
            return field._replace(kind="checkbox")
        case {"type": "integer" | "number"}:
            return field._replace(kind="number")
        case _:
            return field._replace(hint=field.hint or f"JSON that fits {to_json(schema).decode()}")


def _without_null(schema: dict[str, Any]) -> dict[str, Any]:
    """Of a value that may be null, which is a field that is left empty, the schema of the value."""
    match schema:
        case {"anyOf": [{**value}, {"type": "null"}]}:
            return schema | cast("dict[str, Any]", value)
        case _:
            return schema


def _as_given(default: Any) -> str:
    """As the field would send it: a box that is not ticked sends nothing."""
    if default is None or default is False:
        return ""
    return default if isinstance(default, str) else to_json(default).decode()


def _value(schema: dict[str, Any], form: Form, name: str) -> Any:
    schema = _without_null(schema)
    if schema.get("type") == "boolean":
        return name in form
    text = form.get(name, "")
    return text if schema.get("type") == "string" else json_or_text(text, lambda _: _takes_text(schema))


def _takes_text(schema: dict[str, Any]) -> bool:
    """Whether a number may be given by its digits, as a decimal may."""
    return any(each.get("type") == "string" for each in (schema, *schema.get("anyOf", ())))


def _is_needed_text(schema: dict[str, Any], name: str) -> bool:
    """A text that must be there may be empty; what need not be is left out then."""
    return name in schema.get("required", ()) and schema["properties"][name].get("type") == "string"


def _is_flat(schema: dict[str, Any]) -> bool:
    """An object whose properties have a field each; `true` is a schema too, and says nothing of a field."""
    properties: Any = schema.get("properties")
    if schema.get("type") != "object" or not isinstance(properties, dict):
        return False
    described = list(cast("dict[str, Any]", properties).values())
    return 0 < len(described) < FIELDS_MAX / 2 and all(isinstance(each, dict) for each in described)
