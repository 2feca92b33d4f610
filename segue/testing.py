"""Tools to test workflows without Kafka. This is a separate module because a worker, which imports `segue`,
does not need them."""

from segue.streams.testing.crash_injection import crash_everywhere
from segue.streams.testing.environment import DeadLetter, Rehearsal
from segue.streams.testing.fakes import in_turn
from segue.streams.testing.time_skipping import Call
from segue.topics.errors import NoResult, NotDurable

__all__ = ["Call", "DeadLetter", "NoResult", "NotDurable", "Rehearsal", "crash_everywhere", "in_turn"]
