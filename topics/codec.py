"""Encode records as bytes, and decode bytes as records.

A record is UTF-8 JSON with a `kind` and a version `v`. If bytes are not a record, the error explains why in
one line for people; the caller puts the bytes into the dead letters.

On topics that programs and people write, an unknown field is a mistake, and is refused. Between workers it
comes from a worker that is already upgraded, and is ignored.
"""

import json
import re
from collections.abc import Callable
from functools import cache, partial
from itertools import accumulate
from typing import Any, Literal, cast

from pydantic import TypeAdapter, ValidationError
from pydantic_core import from_json, to_json

from segue.topics import contracts
from segue.topics.descriptions import shortened, text_of
from segue.topics.envelope import Clear, why_not_read
from segue.topics.errors import BadInput, BadRecord
from segue.topics.records import VERSION, Record

DEPTH_MAX = 100
"""The deepest nesting of lists and objects, in values from outside and from a workflow."""

RECORD_DEPTH_MAX = 150
"""The same for a whole record, which has some levels of its own. pydantic reads 200 levels: a deeper value is
not written, because no stage could read it again."""

ERRORS_MAX = 10_000
"""The most errors that are listed: pydantic lists all of its errors or none, and a million take 5 s."""

NO_NUMBER = "JSON can't hold it: JSON has no NaN and no infinity, so give None or text"

REASON_CHARS_MAX = 2_000
"""The longest reason: it contains the names of unknown fields, which may be as long as the record."""

CONTENT_TYPE = ("content-type", b"application/json")


def encode(record: Record) -> bytes:
    return record.__pydantic_serializer__.to_json(record)


def decode(topic: str, value: bytes | None) -> Any:
    """Return the record in `value`, as one of the types in the contract of `topic`.

    Raises `BadRecord`, with a message for people, if `value` is not such a record.
    """
    if value is None:
        raise BadRecord("the record has no value; to cancel a task, send a cancel signal, not a tombstone")
    if isinstance(value, Clear):  # it would be a record: whether it may be one is not its own to say
        raise BadRecord(value.why)
    try:
        return _read(topic)(value)
    except ValidationError as error:
        raise BadRecord(_explain(topic, value, error)) from None


def unsealed(value: bytes) -> bytes:
    """Return the value, which is not a record of a topic. Raises `BadRecord` if it is still encrypted."""
    if why := why_not_read(value):
        raise BadRecord(why)
    return value


@cache
def _read(topic: str) -> Callable[[bytes], Any]:
    contract = contracts.BY_NAME[topic]
    extra: Literal["forbid", "ignore"] = "forbid" if "outside" in contract.written_by else "ignore"
    return partial(TypeAdapter(contract.type).validator.validate_json, extra=extra)


def _explain(topic: str, value: bytes, error: ValidationError) -> str:
    if sealed := why_not_read(value):
        return sealed
    try:
        text = value.decode()
    except UnicodeDecodeError as bad:
        return f"not UTF-8: byte {value[bad.start]:#04x} at {bad.start}"
    try:
        body = json.loads(text)
    except (ValueError, RecursionError) as bad:
        return f"not JSON: {bad}"
    version = cast("dict[str, Any]", body).get("v") if isinstance(body, dict) else None
    if isinstance(version, int) and version > VERSION:
        return f"version {version} is newer than {VERSION}, the newest that this worker reads: upgrade it"
    return f"not a record of {topic!r}: {describe(error)}"


def json_of(value: Any) -> bytes:
    """Return the value as JSON text. Raises `BadInput` if JSON can't hold it, or could not be read again.

    JSON can't hold text with half of a surrogate pair. It can't hold NaN and infinities, which would be read
    as null. An integer of more than 4,300 digits can't be read again.
    """
    try:
        body = to_json(value)
    except ValueError as error:
        raise BadInput(f"JSON can't hold it: {why_no_json(error)}") from None
    try:
        from_json(body, allow_inf_nan=False)
    except ValueError as error:
        raise BadInput(_why_unreadable(body, error)) from None
    return body


def _why_unreadable(body: bytes, error: ValueError) -> str:
    try:
        from_json(body)
    except ValueError:
        return f"JSON can't hold it, because its text could not be read again: {error}"
    return NO_NUMBER


def why_no_json(error: ValueError) -> str:
    """Return the reason as text for the author of the value; pydantic's own message is too short in some
    cases.
    """
    text = text_of(error)
    if isinstance(error, UnicodeDecodeError):
        return "the bytes are not UTF-8: let a tool write them to a Blob, or pass them as base64 text"
    if "Circular reference" in text:
        return "it contains itself: pass the data without the cycle"
    if "depth exceeded" in text:
        return (
            f"lists and objects nested deeper than {DEPTH_MAX}: pass the value with fewer levels, or as text"
        )
    return text


def too_deep(body: bytes, most: int = DEPTH_MAX) -> bool:
    """Return whether JSON text has more than `most` nested lists and objects."""
    if body.count(b"[") + body.count(b"{") <= most:
        return False
    brackets = _STRING.sub(b"", body).translate(_OPENING, _ALL_BUT_BRACKETS)
    return max(accumulate(1 if each else -1 for each in brackets), default=0) > most


_STRING = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"?', re.DOTALL)
"""An unterminated string matches up to the end of the text: otherwise each quote in it would be tried again,
in a time that grows with the square of the length."""

_OPENING = bytes.maketrans(b"[{]}", b"\1\1\0\0")
_ALL_BUT_BRACKETS = bytes(set(range(256)) - set(b"[{]}"))


def explain(error: Exception) -> str:
    """Return the error as text for the author of the input."""
    return describe(error) if isinstance(error, ValidationError) else text_of(error)


def describe(error: ValidationError, most: int = 5) -> str:
    """Return the first `most` of pydantic's errors on one line: `place.name: what is wrong; …`."""
    if (count := error.error_count()) > ERRORS_MAX:
        return f"{count:,} errors, too many to list"
    found = error.errors(include_url=False, include_context=False, include_input=False)
    lines = [": ".join(filter(None, (".".join(map(str, e["loc"])), e["msg"]))) for e in found[:most]]
    if len(found) > most:
        lines.append(f"and {len(found) - most} more")
    return shortened("; ".join(lines), REASON_CHARS_MAX)
