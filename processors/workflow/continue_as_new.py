"""A task that goes on anew: the same id, a fresh journal. For tasks that do not end.

    Submitted ─▶ … ─▶ task.again(input) ─▶ Submitted, run 1 ─▶ … ─▶ task.again(input) ─▶ Submitted, run 2 ─▶ …

Each run begins with all that it needs: its input, and the signals that nobody took. Its steps are counted on
from the last of the run before, so that no two steps of a task have one idempotency key, and an outcome that
comes too late is seen to be of a step of an earlier run. What was open ends: questions close, children are
cancelled, calls are no longer waited for, and what was owed to be undone counts as done well.
"""

from asyncio import CancelledError
from hashlib import blake2b
from typing import TYPE_CHECKING, Any

from pydantic_core import to_json

from segue.topics.contracts import PAYLOAD_BYTES_MAX
from segue.topics.errors import leaves
from segue.topics.flow import Publish
from segue.topics.records import (
    Answered,
    CancelRequested,
    Event,
    Problem,
    Run,
    SignalReceived,
    StepFailed,
    StepSucceeded,
    Submitted,
    TimerFired,
)

if TYPE_CHECKING:
    from segue.processors.workflow.execution import Performance


HEARD_KEPT_MAX = 500
"""Of what came from outside a task remembers so much from run to run: a copy of it counts no second time."""


class Again(BaseException):
    """Ends a run. No `except Exception` of a workflow holds it up."""

    def __init__(self, given: Any, version: int) -> None:
        super().__init__("the task goes on with a new run")
        self.given = given
        self.version = version


def again_by(error: BaseException) -> Again | None:
    """Which run follows, if that is what the error says: it, or a group as task groups raise it.

    In a group with another error that one counts: a failure is not lost because a run ends beside it.
    """
    raised = [each for each in leaves(error) if not isinstance(each, CancelledError)]
    found = [each for each in raised if isinstance(each, Again)]
    return found[0] if found and len(found) == len(raised) else None


def next_run(performance: "Performance") -> Submitted | None:
    """How the next run begins; None if the task does not go on."""
    ending = performance.ending
    if ending is None or ending.again is None or performance.parked:
        return None
    before = performance.submitted
    run = Run(
        number=run_of(before) + 1,
        first_step=performance.steps.next,
        heard=last_heard(performance),
        held=performance.signals.kept,
    )
    changes = {"input": ending.again.given, "version": ending.again.version, "at_ms": performance.now_ms}
    changes |= {"budget": performance.purse.left, "validated": True}
    return before.model_copy(update={**changes, "run": run})


def run_of(begun: Submitted) -> int:
    return begun.run.number if begun.run else 0


def first_step_of(begun: Submitted) -> int:
    return begun.run.first_step if begun.run else 0


def abandoned(performance: "Performance") -> list[Publish]:
    """Cancels the children that a run leaves open."""
    task = performance.task_id
    left = [step.child for step in performance.steps if step.child is not None and not step.settled]
    return [Publish("events", child, called_off(child, task, performance.now_ms)) for child in left]


def heard_as(event: Answered | SignalReceived | CancelRequested) -> str:
    """By what a later run knows it again."""
    return blake2b(f"{event.kind} {event.id}".encode(), digest_size=6).hexdigest()


def last_heard(performance: "Performance") -> tuple[str, ...]:
    return tuple(performance.heard)[-HEARD_KEPT_MAX:]


def called_off(child: str, parent: str, now_ms: int) -> CancelRequested:
    reason = f"its parent {parent!r} no longer waits for it"
    return CancelRequested(task=child, id=f"{child}/cancel", reason=reason, at_ms=now_ms)


def size_of(held: tuple[SignalReceived, ...]) -> int:
    """As they stand in the record that begins the next run."""
    return sum(len(to_json(each)) for each in held)


def too_much_held(held: tuple[SignalReceived, ...]) -> Problem | None:
    """Why a run can't begin with these signals; None if it can."""
    size = size_of(held)
    if size <= PAYLOAD_BYTES_MAX:
        return None
    message = f"{len(held):,} signals that nobody took are {size:,} bytes: take them before task.again(…)"
    return Problem(type="BadInput", message=message, retryable=False)


def of_an_earlier_run(run: Run, event: Event) -> bool:
    """Whether the event was for a run that is over."""
    match event:
        case StepSucceeded() | StepFailed() | TimerFired():
            return event.step < run.first_step
        case Answered() | SignalReceived() | CancelRequested():
            return heard_as(event) in run.heard
        case _:
            return False
