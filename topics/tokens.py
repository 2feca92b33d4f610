"""What a model writes, while it writes it: for those who watch. The step's outcome is a record of its own."""

from typing import Literal

from segue.topics.records import Milliseconds, Number, Record, TaskId

TextState = Literal["running", "finished", "superseded"]
"""Of an attempt's text: more follows, it is whole, or it counts for nothing since the attempt failed."""


class Tokens(Record):
    """Topic `tokens`: the next piece of what an attempt's model writes.

    `number` counts the pieces of one text from 0, so that a gap is seen; 0 begins the step's text anew, also
    where the same attempt is made again after a crash. `begun_ms` tells these two apart: of two texts of a
    step the one that began later counts.
    """

    kind: Literal["tokens"] = "tokens"
    task: TaskId
    step: Number
    attempt: Number
    route: str
    candidate: str
    number: Number
    text: str
    state: TextState = "running"
    begun_ms: Milliseconds
    at_ms: Milliseconds
