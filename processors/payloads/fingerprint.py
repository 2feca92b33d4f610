"""The fingerprint of a step's request, 12 characters: the outcome repeats it, so a changed workflow is
noticed.

With it what a workflow may ask with at all: values that JSON has, and that fit into a record.
"""

import json
from hashlib import blake2b
from typing import Any

from pydantic_core import from_json

from segue.processors.payloads import values
from segue.processors.payloads.blob import as_data
from segue.topics.codec import DEPTH_MAX, json_of, too_deep
from segue.topics.contracts import PAYLOAD_BYTES_MAX
from segue.topics.errors import BadInput, TooLarge


def fingerprint(kind: str, name: str, asked: Any, bytes_max: int = PAYLOAD_BYTES_MAX) -> str:
    """Of the step's kind, its name, and the JSON value that it asked with. No times, no versions in it."""
    return fingerprint_of(kind, name, fits(kind, name, asked, bytes_max))


def fingerprint_of(kind: str, name: str, body: bytes) -> str:
    """The same of JSON that `fits`."""
    asked = from_json(body)
    ordered = json.dumps(asked, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return blake2b(f"{kind} {name} {ordered}".encode(), digest_size=6).hexdigest()


def fits(kind: str, name: str, asked: Any, bytes_max: int = PAYLOAD_BYTES_MAX) -> bytes:
    """The value as JSON. Raises `BadInput` if it has none, and `TooLarge` if it is larger or too deep."""
    try:
        name.encode()
        body = json_of(asked)
    except (UnicodeEncodeError, BadInput) as error:
        raise BadInput(f"{kind} {name!r} can't be called with these arguments: {error}") from None
    if len(body) > bytes_max:
        raise TooLarge(
            f"{kind} {name!r} is called with {len(body):,} bytes, but at most {bytes_max:,} can be "
            f"sent{elsewhere(bytes_max)}: let a tool write the data to a Blob, and pass the Blob"
        )
    if too_deep(body):
        raise TooLarge(f"{kind} {name!r} is called with lists and objects nested deeper than {DEPTH_MAX}")
    return body


def elsewhere(bytes_max: int) -> str:
    """Where no more travels than a record holds: why that is so."""
    return " without an object store (SEGUE_OBJECT_STORE_URL)" if bytes_max == PAYLOAD_BYTES_MAX else ""


def jsonable(value: Any) -> Any:
    """The value in JSON's types, as a record holds it. Raises `BadInput` if it is of another."""
    return as_data(values.jsonable(value), value)
