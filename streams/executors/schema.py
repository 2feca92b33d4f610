"""Does a JSON value fit a JSON schema, and if not, what is wrong: in words that a model can act on.

Formats are checked as Pydantic reads them, so that a value that passes here also passes the workflow's types.
A schema may come from anybody, so nothing is fetched for a reference in it.
"""

from datetime import date, datetime, time, timedelta
from typing import Any
from uuid import UUID

from jsonschema import Draft202012Validator, FormatChecker
from jsonschema.exceptions import ValidationError as Mismatch
from pydantic import TypeAdapter, ValidationError
from referencing.jsonschema import EMPTY_REGISTRY

FAULTS_MAX = 5
FAULT_CHARS_MAX = 300
"""A fault quotes the value that does not fit, which may be long."""

_FORMATS = FormatChecker(())


def _check_format(name: str, adapter: TypeAdapter[Any]) -> None:
    def fits(value: object) -> bool:
        return not isinstance(value, str) or adapter.validate_strings(value) is not None

    _FORMATS.checks(name, raises=ValidationError)(fits)


for _name, _type in {
    "date": date,
    "date-time": datetime,
    "time": time,
    "duration": timedelta,
    "uuid": UUID,
}.items():
    _check_format(_name, TypeAdapter(_type))


def faults(
    schema: dict[str, Any], value: Any, dialect: Any = Draft202012Validator, registry: Any = EMPTY_REGISTRY
) -> str | None:
    """What is wrong with `value`, as `place.to: what; …`; None if nothing is.

    `registry` has the documents that the schema may refer to. Raises `Unresolvable` for any other.
    """
    validator = dialect(schema, format_checker=_FORMATS, registry=registry)
    found: list[Mismatch] = sorted(
        validator.iter_errors(value), key=lambda fault: list(map(str, fault.absolute_path))
    )
    lines = [_line(fault) for fault in found[:FAULTS_MAX]]
    if len(found) > FAULTS_MAX:
        lines.append(f"and {len(found) - FAULTS_MAX} more")
    return "; ".join(lines) or None


def _line(fault: Mismatch) -> str:
    where = ".".join(map(str, fault.absolute_path))
    what = fault.message if len(fault.message) <= FAULT_CHARS_MAX else f"{fault.message[:FAULT_CHARS_MAX]}…"
    return f"{where}: {what}" if where else what
