"""What a running tool or check may know about the call that it serves."""

from contextvars import ContextVar
from dataclasses import dataclass

from segue.topics.records import Call, CallTool


@dataclass(frozen=True, slots=True)
class Attempt:
    """One try of a step. `idempotency_key` is the same for every attempt of the step: send it to services.

    `undoes` is that of the step that this one undoes, where it undoes one.
    """

    task: str
    step: int
    attempt: int
    idempotency_key: str
    undoes: str | None = None


def attempt_of(call: Call) -> Attempt:
    undoes = call.undoes if isinstance(call, CallTool) else None
    undone = None if undoes is None else f"{call.task}/{undoes}"
    return Attempt(call.task, call.step, call.attempt, call.idempotency_key, undone)


CURRENT: ContextVar[Attempt] = ContextVar("segue_attempt")


def current_attempt() -> Attempt:
    """The attempt that is running. Raises `LookupError` outside of a tool or check that Segue called."""
    return CURRENT.get()
