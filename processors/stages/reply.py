"""What a model or a tool answered."""

from typing import Any, NamedTuple

from segue.topics.parts import Usage


class Reply(NamedTuple):
    """A JSON value, the candidate's name, and what it consumed."""

    result: Any
    candidate: str
    usage: Usage | None = None
