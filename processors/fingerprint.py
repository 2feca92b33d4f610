"""What a step asked for, in 12 characters: the outcome echoes it, so a workflow that changed is caught."""

from hashlib import blake2b
from typing import Any

from pydantic_core import to_json

from topics.codec import DEPTH_MAX, too_deep
from topics.contracts import PAYLOAD_BYTES_MAX
from topics.errors import BadInput


def fingerprint(kind: str, name: str, asked: Any) -> str:
    """Of the step's kind, its name, and the JSON value that it asked with. No times, no versions in it."""
    return blake2b(f"{kind} {name} ".encode() + fits(kind, name, asked), digest_size=6).hexdigest()


def fits(kind: str, name: str, asked: Any) -> bytes:
    """The value as JSON. Raises `BadInput` if it would not fit into a record."""
    body = to_json(asked)
    if len(body) > PAYLOAD_BYTES_MAX:
        raise BadInput(
            f"{kind} {name!r} is asked with {len(body):,} bytes, at most {PAYLOAD_BYTES_MAX:,} travel: "
            "let a tool keep the data in a Blob, and pass that"
        )
    if too_deep(body):
        raise BadInput(f"{kind} {name!r} is asked with lists and objects nested deeper than {DEPTH_MAX}")
    return body
