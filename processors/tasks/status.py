"""Where a task stands and how it ended, as the records that tell the outside and its parent."""

from dataclasses import dataclass
from typing import Any, Literal

from segue.processors.workflow.execution import WorkflowExecution
from segue.processors.workflow.phases import Ended, Parked, Queued, Running
from segue.topics.records import (
    OpenState,
    Outcome,
    Parent,
    Problem,
    Rejected,
    Result,
    Status,
    StepFailed,
    StepSucceeded,
    Submitted,
)


@dataclass(frozen=True, slots=True)
class StatusDigest:
    """What a status says that can change: while it is the same, none is published."""

    state: OpenState | Outcome
    questions: tuple[int, ...] = ()
    view: Any = None


def status_digest_of(execution: WorkflowExecution) -> StatusDigest:
    context = execution.context
    match execution.phase:
        case Parked():
            return StatusDigest("parked")
        case Ended(completion):
            return StatusDigest(completion.outcome, view=context.view)
        case Queued() | Running() if execution.put_aside:
            return StatusDigest("parked", view=context.view)
        case Queued():
            return StatusDigest("queued")
        case Running():
            questions = tuple(context.questions)
            return StatusDigest("waiting" if questions else "running", questions, context.view)


def status_of(execution: WorkflowExecution, partition: int, offset: int) -> Status:
    """`partition` and `offset` are where the task's log begins in `events`."""
    submitted, completion = execution.submitted, execution.completion
    return Status(
        task=submitted.task,
        workflow=submitted.workflow,
        version=submitted.version,
        state=status_digest_of(execution).state,
        tenant=submitted.tenant,
        questions=tuple(step.question for step in execution.context.questions.values() if step.question),
        problem=execution.parked or (completion.problem if completion else execution.put_aside),
        view=execution.context.view,
        spent=execution.context.budget_account.spent
        if execution.context.budget_account.spent.calls
        else None,
        budget=execution.context.budget_account.budget,
        parent=submitted.parent.task if submitted.parent else None,
        partition=partition,
        offset=offset,
        started_ms=submitted.at_ms,
        at_ms=execution.context.now_ms,
    )


def queued(submitted: Submitted, partition: int, offset: int) -> Status:
    """Of a task that must wait for its turn."""
    return _without_code("queued", submitted, partition, offset, submitted.at_ms)


def unplayed(submitted: Submitted, partition: int, offset: int, problem: Problem, at_ms: int) -> Status:
    """Of a task that is parked before its code could say where it stands."""
    return _without_code("parked", submitted, partition, offset, at_ms, problem)


def _without_code(
    state: Literal["queued", "parked"],
    submitted: Submitted,
    partition: int,
    offset: int,
    at_ms: int,
    problem: Problem | None = None,
) -> Status:
    return Status(
        task=submitted.task,
        workflow=submitted.workflow,
        version=submitted.version,
        state=state,
        tenant=submitted.tenant,
        problem=problem,
        budget=submitted.budget,
        parent=submitted.parent.task if submitted.parent else None,
        partition=partition,
        offset=offset,
        started_ms=submitted.at_ms,
        at_ms=at_ms,
    )


def result_of(execution: WorkflowExecution) -> Result:
    """The result of a execution that has ended."""
    submitted, completion = execution.submitted, execution.completion
    assert completion is not None
    return Result(
        task=submitted.task,
        workflow=submitted.workflow,
        outcome=completion.outcome,
        result=completion.result,
        problem=completion.problem,
        not_undone=tuple(execution.context.not_undone),
        steps=execution.context.steps.next,
        tenant=submitted.tenant,
        spent=execution.context.budget_account.spent
        if execution.context.budget_account.spent.calls
        else None,
        started_ms=submitted.at_ms,
        at_ms=execution.context.now_ms,
    )


def rejection(event: Rejected, partition: int, offset: int) -> tuple[Result, Status]:
    """What is told of a task that never began."""
    result = Result(
        task=event.task,
        workflow=event.workflow,
        outcome="rejected",
        problem=event.problem,
        started_ms=event.at_ms,
        at_ms=event.at_ms,
    )
    status = Status(
        task=event.task,
        workflow=event.workflow,
        version=0,
        state="rejected",
        problem=event.problem,
        partition=partition,
        offset=offset,
        started_ms=event.at_ms,
        at_ms=event.at_ms,
    )
    return result, status


def outcome_for_parent(parent: Parent, result: Result) -> StepSucceeded | StepFailed:
    """What the parent's step learns of its child's end."""
    if result.outcome == "succeeded":
        return StepSucceeded(
            task=parent.task,
            step=parent.step,
            fingerprint=parent.fingerprint,
            result=result.result,
            candidate=result.task,
            spent=result.spent,
            at_ms=result.at_ms,
        )
    return StepFailed(
        task=parent.task,
        step=parent.step,
        fingerprint=parent.fingerprint,
        problem=result.problem or Problem(type=result.outcome, message=result.outcome, retryable=False),
        candidate=result.task,
        spent=result.spent,
        at_ms=result.at_ms,
    )


def taken(parent: Parent, child: Submitted) -> StepFailed:
    """What the parent's step learns where the id of its child is another task's, which came from outside."""
    message = (
        f"the id {child.task!r} of this child belongs to another task: do not give other tasks ids "
        "that end in / and a number"
    )
    return StepFailed(
        task=parent.task,
        step=parent.step,
        fingerprint=parent.fingerprint,
        problem=Problem(type="IdTaken", message=message, retryable=False),
        candidate=child.task,
        at_ms=child.at_ms,
    )
