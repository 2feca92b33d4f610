"""Tells user code which attempt it serves: `current_attempt()` inside of tools and checks."""

from collections.abc import Generator
from contextlib import contextmanager

from processors.attempt import CURRENT, Attempt
from topics.records import Call


@contextmanager
def attempting(call: Call) -> Generator[None]:
    token = CURRENT.set(Attempt(call.task, call.step, call.attempt, call.idempotency_key))
    try:
        yield
    finally:
        CURRENT.reset(token)
