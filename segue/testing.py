"""To test workflows without Kafka. Apart from `segue`, which a worker imports."""

from streams.rehearsal.crashes import crash_everywhere
from streams.rehearsal.played import Call
from streams.rehearsal.rehearsal import DeadLetter, Rehearsal
from streams.rehearsal.stand_ins import in_turn
from topics.errors import NoResult, NotDurable

__all__ = ["Call", "DeadLetter", "NoResult", "NotDurable", "Rehearsal", "crash_everywhere", "in_turn"]
