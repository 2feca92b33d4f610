"""The life cycle of an execution, as one value.

    Queued ─▶ Running ─▶ Ended
       └─────────┴─▶ Parked ─▶ Ended, by a cancellation

Other code begins a parked task anew: its journal is played again, by a new execution.
"""

from dataclasses import dataclass

from segue.processors.workflow.completion import Completion
from segue.topics.records import Event, Problem


@dataclass(frozen=True, slots=True)
class Queued:
    """The task waits for its turn: its coroutine has not begun."""


@dataclass(frozen=True, slots=True)
class Running:
    """The coroutine has begun and has not ended."""


@dataclass(frozen=True, slots=True)
class Parked:
    """The code does not fit the journal, or has a bug: nothing happens until other code plays the task.

    `missed` are the events that came since the bug; None where the task can only be ended by force.
    """

    problem: Problem
    missed: list[Event] | None = None


@dataclass(frozen=True, slots=True)
class Ended:
    """The run is over."""

    completion: Completion


Phase = Queued | Running | Parked | Ended
