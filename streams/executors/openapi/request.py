"""From the arguments of a call to an HTTP request, as the operation describes it (OpenAPI 3.1, 4.8.12).

    style          5       [3, 4]            {"a": 1}
    simple         5       3,4               a,1  (exploded: a=1)
    form           p=5     p=3&p=4           a=1  (not exploded: p=3,4 and p=a,1)
    spaceDelimited, pipeDelimited  p=3 4, p=3|4
    deepObject                               p[a]=1

A path is filled with what can be no other path: `/` and the like are encoded, and `..` is refused.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeGuard, cast
from urllib.parse import quote

from segue.streams.executors.openapi.document import Operation, Parameter
from segue.topics.errors import Permanent

BODY = "body"

Pairs = list[tuple[str, str]]

DELIMITERS = {"form": ",", "simple": ",", "spaceDelimited": " ", "pipeDelimited": "|"}


@dataclass
class Request:
    method: str
    url: str
    query: Pairs = field(default_factory=list[tuple[str, str]])
    headers: dict[str, str] = field(default_factory=dict[str, str])
    cookies: Pairs = field(default_factory=list[tuple[str, str]])
    body: bytes | None = None


def request_of(operation: Operation, arguments: Mapping[str, Any], server: str | None) -> Request:
    """Raises `Permanent` that names every argument that is missing, unknown or does not fit."""
    if wrong := _wrong(operation, arguments):
        raise Permanent(f"it can't be called: {'; '.join(wrong)}")
    path = operation.path
    request = Request(operation.method, "")
    for name, parameter in operation.parameters.items():
        if name not in arguments:
            continue
        value = arguments[name]
        match parameter.where:
            case "path":
                path = path.replace(f"{{{parameter.name}}}", _in_path(parameter, value))
            case "query":
                request.query += _pairs(parameter, value)
            case "header":
                request.headers[parameter.name] = _in_header(parameter, value)
            case _:
                request.cookies += [(key, quote(text)) for key, text in _pairs(parameter, value)]
    request.url = operation.server(server) + path
    if BODY in arguments and operation.body is not None:
        request.headers["Content-Type"] = "application/json"
        request.body = json.dumps(arguments[BODY], ensure_ascii=False).encode()
    return request


def _wrong(operation: Operation, arguments: Mapping[str, Any]) -> list[str]:
    parameters, body = operation.parameters, operation.body
    taken = {*parameters, *([BODY] if body is not None else [])}
    wrong = [f"it takes no argument {name!r}" for name in arguments if name not in taken]
    for name, parameter in parameters.items():
        if name not in arguments:
            wrong += [f"argument {name!r} is missing"] if parameter.required else []
        elif fault := parameter.schema.faults(arguments[name], written=True):
            wrong.append(f"argument {name!r}: {fault}")
    if body is not None and BODY not in arguments:
        wrong += [f"argument {BODY!r} is missing"] if operation.body_is_required else []
    elif body is not None and (fault := body.faults(arguments[BODY], written=True)):
        wrong.append(f"argument {BODY!r}: {fault}")
    return wrong


def _in_path(parameter: Parameter, value: Any) -> str:
    filled = quote(_joined(parameter, value), safe=",=")
    if filled.strip(".") == "":
        raise Permanent(f"argument {parameter.argument!r} would make another path: {filled!r}")
    return filled


def _in_header(parameter: Parameter, value: Any) -> str:
    text = _joined(parameter, value)
    if not text.isprintable():
        raise Permanent(f"argument {parameter.argument!r} has characters that no header can have")
    return text


def _is_list(value: Any) -> TypeGuard[Sequence[Any]]:
    return isinstance(value, Sequence) and not isinstance(value, str)


def _pairs(parameter: Parameter, value: Any) -> Pairs:
    if parameter.style == "deepObject" and isinstance(value, Mapping):
        inner = cast("Mapping[str, Any]", value)
        return [(f"{parameter.name}[{key}]", _text(each)) for key, each in inner.items()]
    if not parameter.explode or parameter.is_json:
        return [(parameter.name, _joined(parameter, value))]
    if isinstance(value, Mapping):
        return [(key, _text(each)) for key, each in cast("Mapping[str, Any]", value).items()]
    if _is_list(value):
        return [(parameter.name, _text(each)) for each in value]
    return [(parameter.name, _text(value))]


def _joined(parameter: Parameter, value: Any) -> str:
    if parameter.is_json:
        return json.dumps(value, ensure_ascii=False)
    if parameter.style not in DELIMITERS:
        raise Permanent(f"parameter {parameter.name!r} is of style {parameter.style!r}, which can't be sent")
    if isinstance(value, Mapping):
        sign = "=" if parameter.explode else ","
        return ",".join(f"{key}{sign}{_text(each)}" for key, each in cast("Mapping[str, Any]", value).items())
    if _is_list(value):
        return DELIMITERS[parameter.style].join(map(_text, value))
    return _text(value)


def _text(value: Any) -> str:
    """As JSON, without the quotes of text; nothing for null."""
    return value if isinstance(value, str) else "" if value is None else json.dumps(value, ensure_ascii=False)
