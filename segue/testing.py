"""To test workflows without Kafka. Apart from `segue`, which a worker imports."""

from segue.streams.testing.crash_injection import crash_everywhere
from segue.streams.testing.environment import DeadLetter, Rehearsal
from segue.streams.testing.fakes import in_turn
from segue.streams.testing.time_skipping import Call
from segue.topics.errors import NoResult, NotDurable

__all__ = ["Call", "DeadLetter", "NoResult", "NotDurable", "Rehearsal", "crash_everywhere", "in_turn"]
