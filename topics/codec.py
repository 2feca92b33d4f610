"""Bytes to records and back.

A record is UTF-8 JSON with a `kind` and a version `v`. Decoding says what is wrong with bytes that are no
record, in one line for a person; the bytes themselves stay the caller's, who puts them into the dead letters.

A field that is not known is a mistake where programs and people write, and refused there. Between workers it
is of one that was upgraded already, and passed over.
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
"""Lists and objects within each other, in what comes from outside and in what a workflow passes on."""

RECORD_DEPTH_MAX = 150
"""The same in a whole record, which has some of its own. pydantic reads 200: what is deeper is not written,
for no stage could read it again."""

ERRORS_MAX = 10_000
"""pydantic lists all of its errors or none: a million take 5 s."""

NO_NUMBER = "JSON can't hold it: JSON has no NaN and no infinity, so give None or text"

REASON_CHARS_MAX = 2_000
"""Names of unknown fields stand in the reason, and may be as long as the record."""

CONTENT_TYPE = ("content-type", b"application/json")


def encode(record: Record) -> bytes:
    return record.__pydantic_serializer__.to_json(record)


def decode(topic: str, value: bytes | None) -> Any:
    """The record that `value` holds, of one of the types that `topic`'s contract names.

    Raises `BadRecord` with a message for people.
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
    """The value, which is no record of a topic. Raises `BadRecord` if it is encrypted still."""
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
    """The value as JSON text. Raises `BadInput` if it has none, or none that can be read again.

    Text with half of a surrogate pair has none; NaN and the infinities have none, and would be null to
    whoever reads them; nobody reads an integer of more than 4,300 digits.
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
    """In words for the one whose value it is: pydantic raises this, and says little of some."""
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
    """Whether JSON text has more than `most` lists and objects within each other."""
    if body.count(b"[") + body.count(b"{") <= most:
        return False
    brackets = _STRING.sub(b"", body).translate(_OPENING, _ALL_BUT_BRACKETS)
    return max(accumulate(1 if each else -1 for each in brackets), default=0) > most


_STRING = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"?', re.DOTALL)
"""A string that has no end reaches to the end of the text: if it did not match, each quote in it would be
tried again, in a time that grows with the square of the length."""

_OPENING = bytes.maketrans(b"[{]}", b"\1\1\0\0")
_ALL_BUT_BRACKETS = bytes(set(range(256)) - set(b"[{]}"))


def explain(error: Exception) -> str:
    """The error in words for the one whose input it is about."""
    return describe(error) if isinstance(error, ValidationError) else text_of(error)


def describe(error: ValidationError, most: int = 5) -> str:
    """The first `most` of what pydantic found, on one line: `place.name: what is wrong; …`."""
    if (count := error.error_count()) > ERRORS_MAX:
        return f"{count:,} errors, too many to list"
    found = error.errors(include_url=False, include_context=False, include_input=False)
    lines = [": ".join(filter(None, (".".join(map(str, e["loc"])), e["msg"]))) for e in found[:most]]
    if len(found) > most:
        lines.append(f"and {len(found) - most} more")
    return shortened("; ".join(lines), REASON_CHARS_MAX)
