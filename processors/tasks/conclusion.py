"""What follows for a task from an event: a pure transition from what is recorded of it to where it is now.

recorded (mark, busy, status) + phase ─▶ Conclusion ─▶ writes and records, by `conduct`
"""

from dataclasses import dataclass
from hashlib import blake2b
from typing import NamedTuple, assert_never

from segue.processors.tasks.status import StatusDigest
from segue.processors.workflow.completion import ContinueAsNew
from segue.processors.workflow.phases import Ended, Parked, Phase, Queued, Running
from segue.topics.records import Problem


@dataclass(frozen=True, slots=True)
class Recorded:
    """What the state and the topics say of a task.

    `parked_by` is the digest of the problem by which it is parked, None if it is not; `busy` is whether it
    has calls out; `stands` is what its last status said.
    """

    parked_by: bytes | None = None
    busy: bool = False
    published_status: StatusDigest | None = None


class Conclusion(NamedTuple):
    """What is to be done. `busy` is what holds from now on."""

    parks: bool
    unparks: bool
    goes_on: ContinueAsNew | None
    ends: bool
    busy: bool
    tells: bool


def conclusion(recorded: Recorded, phase: Phase, stands: StatusDigest, *, calls_open: bool) -> Conclusion:
    """`stands` is what a status would say now; `calls_open`: models or tools have not answered."""
    match phase:
        case Queued():
            busy = recorded.busy
        case Running():
            busy = calls_open
        case Parked() | Ended():
            busy = False
        case _:
            assert_never(phase)
    parks = isinstance(phase, Parked) and digest_of(phase.problem) != recorded.parked_by
    goes_on = phase.completion.continue_as_new if isinstance(phase, Ended) else None
    return Conclusion(
        parks=parks,
        unparks=recorded.parked_by is not None and not isinstance(phase, Parked),
        goes_on=goes_on,
        ends=isinstance(phase, Ended) and goes_on is None,
        busy=busy,
        tells=parks or stands != recorded.published_status,
    )


def digest_of(problem: Problem) -> bytes:
    return blake2b(problem.message.encode(), digest_size=8).hexdigest().encode()
