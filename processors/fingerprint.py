"""What a step asked for, in 12 characters: the outcome echoes it, so a workflow that changed is caught.

With it what a workflow may ask with at all: values that JSON has, and that fit into a record.
"""

import json
from hashlib import blake2b
from typing import Any

from pydantic_core import from_json

from processors import values
from processors.blob import as_data
from topics.codec import DEPTH_MAX, json_of, too_deep
from topics.contracts import PAYLOAD_BYTES_MAX
from topics.errors import BadInput, TooLarge


def fingerprint(kind: str, name: str, asked: Any) -> str:
    """Of the step's kind, its name, and the JSON value that it asked with. No times, no versions in it."""
    asked = from_json(fits(kind, name, asked))
    body = json.dumps(asked, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return blake2b(f"{kind} {name} {body}".encode(), digest_size=6).hexdigest()


def fits(kind: str, name: str, asked: Any) -> bytes:
    """The value as JSON. Raises `BadInput` if it has none, and `TooLarge` if it fits no record."""
    try:
        name.encode()
        body = json_of(asked)
    except (UnicodeEncodeError, BadInput) as error:
        raise BadInput(f"{kind} {name!r} can't be asked with that: {error}") from None
    if len(body) > PAYLOAD_BYTES_MAX:
        raise TooLarge(
            f"{kind} {name!r} is asked with {len(body):,} bytes, at most {PAYLOAD_BYTES_MAX:,} travel: "
            "let a tool keep the data in a Blob, and pass that"
        )
    if too_deep(body):
        raise TooLarge(f"{kind} {name!r} is asked with lists and objects nested deeper than {DEPTH_MAX}")
    return body


def jsonable(value: Any) -> Any:
    """The value in JSON's types, as a record holds it. Raises `BadInput` if it is of another."""
    return as_data(values.jsonable(value), value)
