"""Check a JSON value by a JSON schema, and say what is wrong in words that a model can act on.

A schema and a value may come from anybody, so checking is safe for the process:

- Nothing is fetched for a reference, from a server or from a file: `Unresolvable` is raised.
- Patterns run in an engine of linear time (`segue.streams.json_schema.patterns`).
- The work is counted. A check that needs more than `WORK_MAX` steps is cut off, and what was found until then
  is what is wrong. The service or the type that the value is for still decides.
- A constraint that can't be used, because it is malformed or its pattern can't be compiled, is not checked.
  `unusable` lists those of a schema: call it once, where the schema is read.

Formats are checked as pydantic reads them. Schemas that pydantic made have a dialect of their own, in
`segue.streams.json_schema.typed`.
"""

import json
import logging
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import date, datetime, time, timedelta
from fractions import Fraction
from functools import cache
from itertools import islice
from typing import Any, cast
from uuid import UUID

import attrs
from jsonschema import (
    Draft4Validator,
    Draft6Validator,
    Draft7Validator,
    Draft201909Validator,
    Draft202012Validator,
    FormatChecker,
    validators,
)
from jsonschema.exceptions import UnknownType
from jsonschema.exceptions import ValidationError as Mismatch
from jsonschema.validators import validator_for
from pydantic import TypeAdapter, ValidationError
from referencing.exceptions import Unresolvable
from referencing.jsonschema import EMPTY_REGISTRY

from segue.streams.json_schema.patterns import BadPattern, from_json_schema

log = logging.getLogger(__name__)

FAULTS_MAX = 5
FAULT_CHARS_MAX = 300
"""A fault quotes the value that does not fit, which may be long."""

FOUND_MAX = 1_000
"""Faults that are counted."""

WORK_MAX = 100_000
"""Steps of one check, of about ten microseconds each: a second, or a value of a megabyte."""

PATTERN_WORK = 300
"""Characters of a text, times the size of the pattern, that count as one step."""

SIZE_WORK = 20
"""Members of a list or an object that count as one step."""

_LIBRARY: Any = validators  # it is annotated only in part

Keyword = Callable[[Any, Any, Any, Any], Iterator[Mismatch] | None]

_FORMATS = FormatChecker(())


def _check_format(name: str, adapter: TypeAdapter[Any]) -> None:
    def fits(value: object) -> bool:
        return not isinstance(value, str) or adapter.validate_strings(value) is not None

    _FORMATS.checks(name, raises=ValidationError)(fits)


FORMATS: dict[str, TypeAdapter[Any]] = {
    "date": TypeAdapter(date),
    "date-time": TypeAdapter(datetime),
    "time": TypeAdapter(time),
    "duration": TypeAdapter(timedelta),
    "uuid": TypeAdapter(UUID),
}
for _name, _adapter in FORMATS.items():
    _check_format(_name, _adapter)


def faults(
    schema: dict[str, Any], value: Any, dialect: Any = None, registry: Any = EMPTY_REGISTRY
) -> str | None:
    """Return what is wrong with `value`, as `place.to: what; …`; None if nothing is.

    `dialect` is made by `bounded` or `counted`. Without one it is the schema's `$schema`, or the newest.
    `registry` has the documents that the schema may refer to. Raises `Unresolvable` for any other.
    """
    found: list[Mismatch] = []
    made = dialect or bounded(_dialect(schema))
    try:
        with _counting():
            validator = made(schema, format_checker=_FORMATS, registry=registry)
            found += islice(validator.iter_errors(value), FOUND_MAX)
    except (_TooMuchWork, RecursionError):
        log.warning(
            "a value was checked only partly, because its schema needs more than %s steps", f"{WORK_MAX:,}"
        )
    found.sort(key=lambda fault: list(map(str, fault.absolute_path)))
    lines = [_line(fault) for fault in found[:FAULTS_MAX]]
    if len(found) > FAULTS_MAX:
        lines.append(f"and {len(found) - FAULTS_MAX} more")
    return "; ".join(lines) or None


def _line(fault: Mismatch) -> str:
    where = ".".join(map(str, fault.absolute_path))
    what = fault.message if len(fault.message) <= FAULT_CHARS_MAX else f"{fault.message[:FAULT_CHARS_MAX]}…"
    return f"{where}: {what}" if where else what


def unusable(schema: Any) -> list[str]:
    """Return the patterns of a schema, or of a document with schemas, that are not checked, and why."""
    sentences: dict[str, None] = {}
    try:
        with _counting():
            for pattern in _patterns(schema):
                try:
                    search(pattern, "")
                except BadPattern as error:
                    sentences[f"pattern {_quoted(pattern)} is not checked: {error}"] = None
    except _TooMuchWork:
        sentences["there are too many patterns: only the first of them were looked at"] = None
    return list(sentences)


def _quoted(pattern: str) -> str:
    return repr(pattern if len(pattern) <= FAULT_CHARS_MAX else f"{pattern[:FAULT_CHARS_MAX]}…")


def _patterns(schema: Any) -> Iterator[str]:
    for found in _objects(schema):
        if isinstance(pattern := found.get("pattern"), str):
            yield pattern
        if isinstance(named := found.get("patternProperties"), dict):
            yield from cast("dict[str, Any]", named)


def _objects(schema: Any) -> Iterator[dict[str, Any]]:
    """All objects in a schema that may be schemas, each once: in YAML one may stand in itself."""
    inner: list[Any] = [schema]
    seen: set[int] = set()
    while inner:
        each = inner.pop()
        if id(each) in seen:
            continue
        seen.add(id(each))
        match each:
            case dict():
                fields: dict[str, Any] = cast("Any", each)
                yield fields
                inner += [value for key, value in fields.items() if key not in _DATA]
            case [*found]:
                inner += found
            case _:
                pass


_DATA = ("const", "default", "enum", "example", "examples")
"""What stands there is no schema."""


# ---------------------------------------------------------------- the work of a check


class _TooMuchWork(Exception):
    pass


class _Work:
    """What one check may still do."""

    def __init__(self) -> None:
        self.left = WORK_MAX
        self._patterns: bool | None = None

    def spend(self, steps: int) -> None:
        self.left -= steps
        if self.left < 0:
            raise _TooMuchWork

    def has_patterns(self, document: Any) -> bool:
        """Whether names of properties are matched by patterns anywhere in the document of the schema."""
        if self._patterns is None:
            self._patterns = any("patternProperties" in each for each in _objects(document))
        return self._patterns


_work: ContextVar[_Work] = ContextVar("the check that runs")


@contextmanager
def _counting() -> Generator[None]:
    token = _work.set(_Work())
    try:
        yield
    finally:
        _work.reset(token)


def spend(steps: int) -> None:
    _work.get().spend(steps)


def search(pattern: str, text: str, read: Any = from_json_schema) -> bool:
    """Raises `BadPattern`."""
    ready = read(pattern)
    spend(1 + ready.cost(text) // PATTERN_WORK)
    return bool(ready.found_in(text))


_MALFORMED = (TypeError, ValueError, LookupError, AttributeError, ArithmeticError, UnknownType)
"""What jsonschema raises at a constraint that is none: `{"minimum": "3"}`, `{"type": "strin"}`."""


def _counted(keyword: Keyword) -> Keyword:
    def check(validator: Any, constraint: Any, instance: Any, schema: Any) -> Iterator[Mismatch]:
        spend(1 + (_length(constraint) + _length(instance)) // SIZE_WORK)
        try:
            for fault in keyword(validator, constraint, instance, schema) or ():
                spend(len(fault.message) // PATTERN_WORK)  # it quotes the value
                yield fault
        except Unresolvable:
            raise
        except _MALFORMED as error:
            log.debug("a constraint is not checked: %r: %s", constraint, error)

    return check


def _length(value: Any) -> int:
    return len(cast("list[Any]", value)) if isinstance(value, list | dict) else 0


# ---------------------------------------------------------------- dialects


def _dialect(schema: Any) -> Any:
    """By the schema's `$schema`, where that is a draft of JSON Schema."""
    name = cast("dict[str, Any]", schema).get("$schema") if isinstance(schema, dict) else None
    drafts: Any = (Draft4Validator, Draft6Validator, Draft7Validator, Draft201909Validator)
    known = validator_for({"$schema": name}, Draft202012Validator) if isinstance(name, str) else None
    return known if known in drafts else Draft202012Validator


@cache
def bounded(dialect: Any) -> Any:
    """The dialect with work that is counted, patterns of linear time, and numbers as decimals."""
    ours = {name: check for name, check in _OURS.items() if name in dialect.VALIDATORS}
    return counted(_LIBRARY.extend(dialect, ours))


def counted(dialect: Any) -> Any:
    """The dialect with work that is counted.

    jsonschema takes up the validator of any `$schema` within a schema: this one stays.
    """
    made: Any = _LIBRARY.extend(
        dialect, {name: _counted(check) for name, check in dialect.VALIDATORS.items()}
    )
    made.evolve = _evolve
    made.is_type = _counting_types(dialect.is_type)
    return made


def _evolve(validator: Any, **changes: Any) -> Any:
    spend(1)
    return attrs.evolve(validator, **changes)


def _counting_types(is_type: Callable[[Any, Any, str], bool]) -> Callable[[Any, Any, str], bool]:
    """Each step of jsonschema asks for a type, those too that look for what is unevaluated."""

    def counting(validator: Any, instance: Any, kind: str) -> bool:
        spend(1)
        return is_type(validator, instance, kind)

    return counting


def _pattern(validator: Any, pattern: str, instance: Any, _: Any) -> Iterator[Mismatch]:
    if validator.is_type(instance, "string") and not search(pattern, instance):
        yield Mismatch(f"{instance!r} does not match {pattern!r}")


def _pattern_properties(
    validator: Any, patterns: dict[str, Any], instance: Any, _: Any
) -> Iterator[Mismatch]:
    if not validator.is_type(instance, "object"):
        return
    for pattern, schema in patterns.items():
        for name, value in instance.items():
            if _matches(pattern, name, otherwise=False):
                yield from validator.descend(value, schema, path=name, schema_path=pattern)


def _additional_properties(
    validator: Any, allowed: Any, instance: Any, schema: dict[str, Any]
) -> Iterator[Mismatch]:
    if not validator.is_type(instance, "object"):
        return
    named, patterns = schema.get("properties", {}), schema.get("patternProperties", {})
    more = [
        name
        for name in instance
        if name not in named and not any(_matches(each, name, otherwise=True) for each in patterns)
    ]
    if validator.is_type(allowed, "object"):
        for name in more:
            yield from validator.descend(instance[name], allowed, path=name)
    elif allowed is False and more:
        names, verb = ", ".join(map(repr, sorted(more))), "was" if len(more) == 1 else "were"
        yield Mismatch(f"Additional properties are not allowed ({names} {verb} unexpected)")


def _matches(pattern: str, name: str, *, otherwise: bool) -> bool:
    try:
        return search(pattern, name)
    except BadPattern:
        return otherwise


def _unevaluated_properties(
    validator: Any, constraint: Any, instance: Any, schema: dict[str, Any]
) -> Iterator[Mismatch]:
    """jsonschema looks for these with patterns of its own engine, so they are not checked beside patterns."""
    document = validator._resolver.lookup("#").contents
    if not _work.get().has_patterns(document):
        check: Any = Draft202012Validator.VALIDATORS["unevaluatedProperties"]
        yield from check(validator, constraint, instance, schema)


def _multiple_of(validator: Any, factor: Any, instance: Any, _: Any) -> Iterator[Mismatch]:
    """As decimals, as they are written: 19.99 is a multiple of 0.01."""
    if validator.is_type(instance, "number") and (_exact(instance) / _exact(factor)).denominator != 1:
        yield Mismatch(f"{instance!r} is not a multiple of {factor}")


def _exact(number: Any) -> Fraction:
    return Fraction(number) if isinstance(number, int) else Fraction(str(number))


def _unique_items(validator: Any, unique: Any, instance: Any, _: Any) -> Iterator[Mismatch]:
    if not (unique and validator.is_type(instance, "array")):
        return
    texts = [json.dumps(_comparable(item), sort_keys=True) for item in instance]
    spend((len(texts) + sum(map(len, texts))) // SIZE_WORK)
    if len(set(texts)) < len(texts):
        yield Mismatch(f"{instance!r} has non-unique elements")


def _comparable(value: Any) -> Any:
    """1.0 and 1 are the same number, and `true` is none."""
    match value:
        case dict():
            return {key: _comparable(each) for key, each in cast("dict[str, Any]", value).items()}
        case [*items]:
            return [_comparable(each) for each in items]
        case float() if value.is_integer():
            return int(value)
        case _:
            return value


def _enum(validator: Any, allowed: Any, instance: Any, schema: Any) -> Iterator[Mismatch]:
    """Each of them is compared with the whole value."""
    size = len(repr(cast("Any", instance))) if isinstance(instance, list | dict) else 1
    spend(_length(allowed) * size // SIZE_WORK)
    check: Any = Draft202012Validator.VALIDATORS["enum"]
    yield from check(validator, allowed, instance, schema)


_OURS: dict[str, Keyword] = {
    "pattern": _pattern,
    "patternProperties": _pattern_properties,
    "additionalProperties": _additional_properties,
    "unevaluatedProperties": _unevaluated_properties,
    "multipleOf": _multiple_of,
    "uniqueItems": _unique_items,
    "enum": _enum,
}
