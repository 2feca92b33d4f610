"""Information about the current call, for a running tool or check."""

from contextvars import ContextVar
from dataclasses import dataclass

from segue.topics.records import Call, CallTool


@dataclass(frozen=True, slots=True)
class Attempt:
    """One attempt at a step. `idempotency_key` is the same for every attempt of the step: send it to
    services.

    `undoes` is the idempotency key of the step that this step undoes, or None.
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
    """Return the running attempt. Raises `LookupError` outside of a tool or check that Segue called."""
    return CURRENT.get()
