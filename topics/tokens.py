"""The text of a model while the model writes it, for people who watch. The step's outcome is a separate
record."""

from typing import Literal

from segue.topics.records import Milliseconds, Number, Record, TaskId

TextState = Literal["running", "finished", "superseded"]
"""The state of an attempt's text: more follows, it is complete, or invalid because the attempt failed."""


class Tokens(Record):
    """Topic `tokens`: the next piece of the text of an attempt's model.

    `number` counts the pieces of one text from 0, so that a reader notices a gap. 0 begins the step's text
    again, also if the same attempt is repeated after a crash. `begun_ms` distinguishes two texts of a step:
    the one that began later counts.
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
