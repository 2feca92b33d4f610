"""The worst input that we know for each place where input comes in: `python -m tests.worst` meets all of it.

A place that takes more than linear time would need hours for one of these; together they take seconds. The
names are printed as they are met, so that whoever kills the process sees which hangs.
"""

from collections.abc import Callable
from contextlib import suppress
from typing import Any

from segue.processors.payloads.options import option_with
from segue.streams.client.answers import check_answer, named
from segue.streams.executors.openapi.document import Document
from segue.streams.executors.openapi.yaml import parsed
from segue.streams.json_schema.schema import faults, unusable
from segue.streams.json_schema.typed import misfit
from segue.streams.text.redaction import redact
from segue.topics import codec
from segue.topics.errors import BadInput, BadRecord, Permanent
from segue.topics.records import Option, Question

N = 800_000
"""Nearly the largest record."""

HANGS = r"^(\w+\s?)*$"

Schema = dict[str, Any]


def records() -> None:
    """As they come to `tasks` and `signals`."""
    for value in (
        b"[" * 101 + b'"' + b'\\"' * (N // 2),
        b"[" * 101 + b'"' * N,
        b"[" * 101 + b'"' + b"\\" * N,
        b"[" * N,
        b'{"a":' * (N // 5),
        b'{"workflow":"w","input":' + b"1" * N + b"}",
        b'{"workflow":"w","priority":"' + b"1" * N + b'"}',
        b"{" + b",".join(b'"%d":1' % number for number in range(N // 10)) + b"}",
    ):
        for topic in ("tasks", "signals"):
            codec.too_deep(value)
            with suppress(BadRecord):
                codec.decode(topic, value)


def question(answer: Schema, *options: Option) -> Question:
    return Question(
        task="t", step=0, workflow="w", to="ada", text="?", answer=answer, options=options, at_ms=0
    )


def answers() -> None:
    """As people type them, and programs give them."""
    asked = question({"type": "string", "pattern": HANGS})
    for value in ("a" * 37 + "!", "a" * N + "!", named(asked, "[" * N), named(asked, "1" * N)):
        with suppress(BadInput):
            check_answer(asked, value)
    check_answer(question({"type": "array", "items": {"type": "integer"}}), list(range(N // 5)))
    option_with("x" * N, [Option(label=str(number), value="x" * 100) for number in range(1_000)])


def model_outputs() -> None:
    misfit({"type": "object", "properties": {"a": {"pattern": HANGS}}}, {"a": "a" * N + "!"})
    misfit(TWICE, nested(60))


def nested(depth: int) -> Any:
    value: Any = {}
    for _ in range(depth):
        value = {"x": value}
    return value


def alternatives(keyword: str) -> Schema:
    """A schema that asks twice for each level of a value."""
    inner = {"properties": {"x": {"$ref": "#/$defs/n"}}, "required": ["k"]}
    return {"$defs": {"n": {keyword: [inner, inner]}}, "$ref": "#/$defs/n"}


def chained(keyword: str) -> Schema:
    """A schema whose parts refer to the next twice, 40 times."""
    parts: Schema = {f"p{n}": {keyword: [{"$ref": f"#/$defs/p{n + 1}"}] * 2} for n in range(40)}
    return {"$defs": parts | {"p40": {"type": "integer"}}, "$ref": "#/$defs/p0"}


TWICE = alternatives("anyOf")

DEPENDENT: Schema = {
    "$defs": {
        **{
            f"p{n}": {"dependentSchemas": {key: {"$ref": f"#/$defs/p{n + 1}"} for key in "xy"}}
            for n in range(40)
        },
        "p40": {},
    },
    "$ref": "#/$defs/p0",
    "unevaluatedProperties": False,
}

COLLIDING = [number * (2**61 - 1) for number in range(N // 25)]
"""Python's hash of each is 0."""


def schemas() -> None:
    """As MCP servers and OpenAPI documents give them, with values that come from there too."""
    cases: Any = (
        ({"pattern": HANGS}, "a" * 37 + "!"),
        (
            {"$schema": "http://json-schema.org/draft-07/schema#", "items": {"pattern": HANGS}},
            ["a" * 37 + "!"],
        ),
        (
            {"properties": {"a": {"$schema": "http://json-schema.org/draft-07/schema#", "pattern": HANGS}}},
            {"a": "a" * 37 + "!"},
        ),
        ({"patternProperties": {HANGS: {}}, "additionalProperties": False}, {"a" * 37 + "!": 1}),
        ({"patternProperties": {HANGS: {}}, "unevaluatedProperties": False}, {"a" * 37 + "!": 1}),
        ({"items": {"pattern": "(?:a?){1000}a{1000}"}}, ["a" * 1_000] * 1_000),
        ({"pattern": r"[01]*1[01]{1000}$"}, "10" * (N // 2)),
        ({"patternProperties": {f"^a{n}": {} for n in range(10_000)}}, {f"b{n}": 1 for n in range(10_000)}),
        ({"uniqueItems": True}, [{"a": number} for number in range(100_000)]),
        ({"uniqueItems": True}, COLLIDING),
        ({"items": {"enum": [str(n) for n in range(100_000)]}}, ["x"] * 100_000),
        ({"items": {"enum": [[0] * 1_000 + [n] for n in range(1_000)]}}, [[*[0] * 1_000, "x"]] * 1_000),
        ({"items": {"required": [str(n) for n in range(10_000)]}}, [{}] * 10_000),
        ({"anyOf": [{"type": "string"}] * 10_000}, {"a": "x" * N}),
        ({"items": {}}, [1] * N),
        ({"multipleOf": 1e-300}, 10**4_000),
        ({"$ref": "#"}, 1),
        ({"allOf": [{"$ref": "#"}]}, 1),
        *((chained(keyword), 1) for keyword in ("allOf", "anyOf", "oneOf")),
        *((alternatives(keyword), nested(60)) for keyword in ("allOf", "anyOf", "oneOf")),
        (DEPENDENT, {"x": 1, "y": 2}),
    )
    for schema, value in cases:
        faults(schema, value)


def patterns() -> None:
    """All those of a listing are looked at where it is read."""
    costly = (f"[\\s\\S]{{1,{number}}}" for number in range(4_000, 6_000))
    unusable({"properties": {f"p{n}": {"pattern": each} for n, each in enumerate(costly)}})


def documents() -> None:
    """In YAML one thing may stand in many places, and be merged twice at each level."""
    lines = [
        "a0: &a0 {x0: 1}",
        *(f"a{n}: &a{n} {{<<: [*a{n - 1}, *a{n - 1}], x{n}: 1}}" for n in range(1, 40)),
    ]
    with suppress(Permanent):
        parsed("\n".join(lines))
    lists = ["a0: &a0 [1]", *(f"a{n}: &a{n} [*a{n - 1}, *a{n - 1}]" for n in range(1, 40))]
    Document(parsed("\n".join(["openapi: 3.0.0", *lists, "self: &s [*s]"]))).unusable()


PIECES = (
    *(
        "a:",
        "://a:",
        "://a:b/",
        "sk-",
        "Bearer ",
        "basic a",
        "token=",
        "token",
        "?key=",
        "eyJ.",
        "eyJa",
        "\\",
        "'",
    ),
    *(
        "password: ",
        "password:'",
        '\\"',
        "-----BEGIN RSA PRIVATE KEY-----",
        "Authorization: Basic ",
        "cookie: a=",
    ),
    *(
        "authorization, ",
        "a=b; ",
        "%3a%2f%2fa%3a",
        "a@",
        "a:b@",
        "--",
        "--a-token ",
        "<token>",
        "_KEY",
        "('token',",
    ),
    *("token \n token", "api key", " ", "\n", "\n "),
)


def texts() -> None:
    """As errors and logs have them, which are cleaned."""
    for piece in PIECES:
        redact(piece * (N // len(piece)))
        redact(piece + "a" * N)


PLACES: tuple[Callable[[], None], ...] = (
    records,
    answers,
    model_outputs,
    schemas,
    patterns,
    documents,
    texts,
)

if __name__ == "__main__":
    for place in PLACES:
        print(place.__name__, flush=True)
        place()
    print("all", flush=True)
