"""Check a JSON value by the schema that pydantic made of a type, where the type itself is not at hand.

The type decides, in `conduct`, which has it. What is refused here is refused early: a model's output before
it is checked or judged, a person's answer while the person is still there. So nothing may be refused here
that the type takes, and this dialect reads as pydantic does:

- `"5"` is a number, and `1` a yes; a number is a date or a duration.
- A list for a set may hold something twice.
- A pattern is searched by pydantic's engine, and a multiple found by pydantic.
- What pydantic never writes, such as `not`, says nothing.
- Only the list of sign, digits and exponent, of which pydantic makes a decimal too, is refused.
- A type that has a validator before pydantic's may take anything: `payloads.schemas` marks its schema.
"""

from collections.abc import Iterator
from functools import lru_cache
from typing import Any

from jsonschema import Draft202012Validator, validators
from jsonschema.exceptions import ValidationError as Mismatch
from pydantic import TypeAdapter
from pydantic_core import SchemaValidator, core_schema
from referencing.exceptions import Unresolvable

from segue.processors.payloads.schemas import type_decides
from segue.streams.json_schema.patterns import from_pydantic
from segue.streams.json_schema.schema import FORMATS, counted, faults, search

_KEPT = (
    *("$ref", "anyOf", "allOf", "format"),
    *("type", "properties", "required", "additionalProperties", "minProperties", "maxProperties"),
    *("items", "prefixItems", "minItems", "minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum"),
)

_READ: dict[str, TypeAdapter[Any]] = {
    "integer": TypeAdapter(int),
    "number": TypeAdapter(float),
    "boolean": TypeAdapter(bool),
}


def misfit(schema: dict[str, Any], value: Any) -> str | None:
    """Return what is wrong with `value`, as `place.to: what; …`; None if the type has to say."""
    if type_decides(schema):
        return None
    try:
        return faults(schema, value, TYPED)
    except Unresolvable:
        return None


def _type(validator: Any, kinds: Any, instance: Any, schema: dict[str, Any]) -> Iterator[Mismatch]:
    kinds = [kinds] if isinstance(kinds, str) else kinds
    if not any(_is_read(validator, kind, instance, schema) for kind in kinds):
        yield Mismatch(f"{instance!r} is not of type {', '.join(map(repr, kinds))}")


def _is_read(validator: Any, kind: str, instance: Any, schema: dict[str, Any]) -> bool:
    if validator.is_type(instance, kind):
        return True
    if kind in _READ:
        return _READ[kind].validator.isinstance_python(instance)
    timely = FORMATS.get(schema.get("format", "")) if kind == "string" else None
    return timely is not None and validator.is_type(instance, "number") and _takes(timely, instance)


def _takes(adapter: TypeAdapter[Any], value: Any) -> bool:
    return adapter.validator.isinstance_python(value)


def _enum(_: Any, allowed: list[Any], instance: Any, __: Any) -> Iterator[Mismatch]:
    if not any(_is_meant(each, instance) for each in allowed):
        yield Mismatch(f"{instance!r} is not one of {allowed!r}")


def _const(_: Any, only: Any, instance: Any, __: Any) -> Iterator[Mismatch]:
    if not _is_meant(only, instance):
        yield Mismatch(f"{only!r} was expected")


def _is_meant(allowed: Any, instance: Any) -> bool:
    """A number may come as any text that pydantic reads as it (`"1"`, `" 1"`, `"1.0"`), and `true` is 1."""
    if allowed == instance or str(allowed) == instance:
        return True
    reads = _READ["integer" if isinstance(allowed, int) else "number"].validator
    number = isinstance(allowed, int | float) and isinstance(instance, str)
    return number and reads.isinstance_python(instance) and bool(reads.validate_python(instance) == allowed)


def _pattern(validator: Any, pattern: str, instance: Any, _: Any) -> Iterator[Mismatch]:
    """The type may take away white space first."""
    if validator.is_type(instance, "string"):
        texts = {instance, instance.strip()}
        if not any(search(pattern, text, from_pydantic) for text in texts):
            yield Mismatch(f"{instance!r} does not match {pattern!r}")


def _min_length(validator: Any, least: int, instance: Any, schema: dict[str, Any]) -> Iterator[Mismatch]:
    """Of bytes it is their number, which the text does not show."""
    if validator.is_type(instance, "string") and len(instance) < least and "format" not in schema:
        yield Mismatch(f"{instance!r} is too short")


def _max_length(validator: Any, most: int, instance: Any, _: Any) -> Iterator[Mismatch]:
    if validator.is_type(instance, "string") and len(instance.strip()) > most:
        yield Mismatch(f"{instance!r} is too long")


def _max_items(validator: Any, most: int, instance: Any, schema: dict[str, Any]) -> Iterator[Mismatch]:
    if validator.is_type(instance, "array") and len(instance) > most and not schema.get("uniqueItems"):
        yield Mismatch(f"{instance!r} is too long")


def _multiple_of(validator: Any, factor: Any, instance: Any, _: Any) -> Iterator[Mismatch]:
    if validator.is_type(instance, "number") and not _multiples(factor).isinstance_python(instance):
        yield Mismatch(f"{instance!r} is not a multiple of {factor}")


@lru_cache(100)
def _multiples(factor: float) -> SchemaValidator:
    whole = [core_schema.int_schema(multiple_of=factor)] if isinstance(factor, int) else []
    return SchemaValidator(core_schema.union_schema([*whole, core_schema.float_schema(multiple_of=factor)]))


_LIBRARY: Any = validators  # it is annotated only in part
_DRAFT: Any = Draft202012Validator
_STOCK: dict[str, Any] = _DRAFT.VALIDATORS

TYPED = counted(
    _LIBRARY.create(
        meta_schema=_DRAFT.META_SCHEMA,
        validators={name: _STOCK[name] for name in _KEPT}
        | {
            "type": _type,
            "enum": _enum,
            "const": _const,
            "pattern": _pattern,
            "minLength": _min_length,
            "maxLength": _max_length,
            "maxItems": _max_items,
            "multipleOf": _multiple_of,
            "oneOf": _STOCK["anyOf"],
        },
        type_checker=_DRAFT.TYPE_CHECKER,
        id_of=_DRAFT.ID_OF,
    )
)
