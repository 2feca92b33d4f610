"""Tells user code which attempt it serves: `current_attempt()` inside of tools and checks."""

from segue.processors.stages.attempt import CURRENT, attempt_of
from segue.topics.records import Call


def serve_as_current(call: Call) -> None:
    """Until the asyncio task ends: each call has one of its own, and so a context of its own."""
    CURRENT.set(attempt_of(call))
