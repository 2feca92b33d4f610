"""What a running tool or check may know about the call that it serves."""

from contextvars import ContextVar
from typing import NamedTuple


class Attempt(NamedTuple):
    """One try of a step. `idempotency_key` is the same for every attempt of the step: send it to services."""

    task: str
    step: int
    attempt: int
    idempotency_key: str


CURRENT: ContextVar[Attempt] = ContextVar("segue_attempt")


def current_attempt() -> Attempt:
    """The attempt that is running. Raises `LookupError` outside of a tool or check that Segue called."""
    return CURRENT.get()
