"""What a step asked for, in 12 characters: the outcome echoes it, so a workflow that changed is caught."""

from hashlib import blake2b
from typing import Any

from pydantic_core import to_json


def fingerprint(kind: str, name: str, asked: Any) -> str:
    """Of the step's kind, its name, and the JSON value that it asked with. No times, no versions in it."""
    return blake2b(f"{kind} {name} ".encode() + to_json(asked), digest_size=6).hexdigest()
