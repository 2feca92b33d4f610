"""The parts of a timeline: steps, their attempts, and timeline events."""

from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

from segue.processors.routing.budget import together
from segue.processors.routing.policy import Action
from segue.topics.parts import Choice, Spent, Usage
from segue.topics.records import Option, Problem, Question

Kind = Literal["model", "tool", "ask", "timer", "child", "signal"]

What = Literal[
    "task",
    "model",
    "tool",
    "check",
    "retry",
    "reroute",
    "again",
    "choice",
    "undo",
    "ask",
    "answer",
    "timer",
    "child",
    "signal",
    "cancel",
    "parked",
    "view",
    "dead letter",
    "result",
]
"""What a moment is about: a kind of step, or what happened to one or to the task."""

Mark = Literal["", "ok", "failed", "again", "waiting"]


DEADLINE = "deadline"
"""The name of a timer that closes a question: told with the question, not by itself."""


class TimelineEvent(NamedTuple):
    """One thing that happened, in the words of a person. `step` counts from 0, as in records."""

    at_ms: int
    what: What
    name: str = ""
    step: int | None = None
    by: str = ""
    attempt: int | None = None
    mark: Mark = ""
    duration_ms: float | None = None
    text: str = ""
    options: tuple[Option, ...] = ()


@dataclass(slots=True)
class Attempt:
    """One try. `then` is what the policy made of its failure; a retry waits `wait_ms`."""

    number: int
    candidate: int | None = None
    by: str | None = None
    started_ms: int | None = None
    outcome: Literal["running", "checking", "succeeded", "failed", "refused"] = "running"
    duration_ms: float | None = None
    reason: str | None = None
    refused: Any = None
    """The output that a check did not accept, which `reason` criticises."""
    traceback: str | None = None
    then: Action | None = None
    wait_ms: int | None = None
    usage: Usage | None = None


@dataclass(slots=True)
class StepAnswer:
    """An answer that somebody gave. `counts` is None until it is decided; `reason` says why it does not."""

    id: str
    value: Any
    by: str | None
    at_ms: int
    counts: bool | None = None
    reason: str | None = None


@dataclass(slots=True)
class Step:
    """One durable await. `name` is its route, whom it asked, or the signal's name."""

    number: int
    kind: Kind
    name: str = ""
    outcome: Literal["running", "waiting", "succeeded", "failed", "ended"] = "running"
    started_ms: int | None = None
    ended_ms: int | None = None
    due_ms: int | None = None
    attempts: dict[int, Attempt] = field(default_factory=dict[int, Attempt])
    asked: Any = None
    """A tool's arguments, or what a model was asked, where a call of it was seen."""
    question: Question | None = None
    answered_by: str | None = None
    """Who gave the answer that counted, which is the step's result."""
    answers: dict[str, StepAnswer] = field(default_factory=dict[str, StepAnswer])
    """All that were given, by their ids: one counts at most."""
    choice: Choice | None = None
    spent: Spent | None = None
    result: Any = None
    problem: Problem | None = None
    undoes: int | None = None

    @property
    def what(self) -> What:
        return self.kind if self.undoes is None else "undo"

    @property
    def consumed(self) -> Spent | None:
        """By all attempts, judges and children, once it has its outcome; until then by what is known."""
        return self.spent or together(*(each.usage for each in self.attempts.values()))

    def attempt(self, number: int) -> Attempt:
        return self.attempts.setdefault(number, Attempt(number))

    @property
    def last_attempt(self) -> Attempt | None:
        return self.attempts[max(self.attempts)] if self.attempts else None
