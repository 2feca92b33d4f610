"""A task that goes on anew: the same id, a fresh journal. For tasks that do not end.

    Submitted ─▶ … ─▶ task.continue_as_new(input) ─▶ Submitted, run 1 ─▶ … ─▶ Submitted, run 2 ─▶ …

Each run begins with all that it needs: its input, and the signals that nobody took. Its steps are counted on
from the last of the run before, so that no two steps of a task have one idempotency key, and an outcome that
comes too late is seen to be of a step of an earlier run. What was open ends: questions close, children are
cancelled, calls are no longer waited for, and what was owed to be undone counts as done well.
"""

from pydantic_core import to_json

from segue.processors.workflow.completion import ContinueAsNew
from segue.processors.workflow.context import ExecutionContext
from segue.topics.contracts import PAYLOAD_BYTES_MAX
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
from segue.topics.runs import heard_as, run_of

HEARD_KEPT_MAX = 500
"""Of what came from outside a task remembers so much from run to run: a copy of it counts no second time."""


def next_run(context: ExecutionContext, again: ContinueAsNew) -> Submitted:
    """How the next run begins."""
    before = context.submitted
    run = Run(
        number=run_of(before) + 1,
        first_step=context.steps.next,
        seen_ids=last_heard(context),
        buffered_signals=context.signals.buffered,
    )
    changes = {"input": again.given, "version": again.version, "at_ms": context.now_ms}
    changes |= {"budget": context.budget_account.left, "validated": True}
    return before.model_copy(update={**changes, "run": run})


def abandoned(context: ExecutionContext) -> list[Publish]:
    """Cancels the children that a run leaves open."""
    task = context.task_id
    left = [step.child for step in context.steps if step.child is not None and not step.settled]
    return [Publish("events", child, called_off(child, task, context.now_ms)) for child in left]


def last_heard(context: ExecutionContext) -> tuple[str, ...]:
    return tuple(context.heard)[-HEARD_KEPT_MAX:]


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
    message = (
        f"{len(held):,} signals that the task has not received yet have {size:,} bytes, too many for one "
        "record: receive them with task.signal(…) before task.continue_as_new(…)"
    )
    return Problem(type="BadInput", message=message, retryable=False)


def of_an_earlier_run(run: Run, event: Event) -> bool:
    """Whether the event was for a run that is over."""
    match event:
        case StepSucceeded() | StepFailed() | TimerFired():
            return event.step < run.first_step
        case Answered() | SignalReceived() | CancelRequested():
            return heard_as(event) in run.seen_ids
        case _:
            return False
