"""Facts about the runs of a task that goes on anew, as its records tell them."""

from hashlib import blake2b

from segue.topics.records import Answered, CancelRequested, SignalReceived, Submitted


def run_of(begun: Submitted) -> int:
    return begun.run.number if begun.run else 0


def first_step_of(begun: Submitted) -> int:
    return begun.run.first_step if begun.run else 0


def heard_as(event: Answered | SignalReceived | CancelRequested) -> str:
    """By what a later run knows it again."""
    return blake2b(f"{event.kind} {event.id}".encode(), digest_size=6).hexdigest()
