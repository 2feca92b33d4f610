"""Outcomes of steps, read as the type that the workflow asked for.

StepSucceeded ─┬▶ the step's result
               └▶ of another type ─┬▶ a model: failures, with the critique; recover asks it again
                                   └▶ else: a StepError at the await
StepFailed ────────────────────────▶ a StepError at the await, and a dead letter

A step that `recover` gave up on is a dead letter only if that outcome counts: an attempt may fail after its
step was answered, when a call was made twice.
"""

from pydantic import ValidationError

from segue.processors.routing.budget import consumed, step_error
from segue.processors.workflow.context import ExecutionContext
from segue.processors.workflow.parking import PUT_ASIDE
from segue.processors.workflow.state.step import Step
from segue.topics import codec
from segue.topics.contracts import PAYLOAD_BYTES_MAX
from segue.topics.errors import BadInput, StepError
from segue.topics.flow import Publish, Received, dead_letter
from segue.topics.records import AttemptFailed, CallModel, Critique, Event, Problem, StepFailed, StepSucceeded


def letters_of(event: Event, record: Received, now_ms: int) -> list[Publish]:
    """Return the dead letter of a step that failed for good."""
    reason = letter_reason(event) if isinstance(event, StepFailed) else None
    return [] if reason is None else [dead_letter(record, "conduct", reason, now_ms, event.task)]


def letter_reason(event: StepFailed) -> str | None:
    """Return the reason of the dead letter of a failed call; None where something else tells of it.

    A child has a result. A record that a stage could not process is among the dead letters itself.
    """
    if event.route is None or event.problem.type == PUT_ASIDE:
        return None
    return f"{event.route}: {event.problem.message}"


def settle(context: ExecutionContext, step: Step, event: StepSucceeded | StepFailed) -> None:
    """The step that the outcome is of has its value or its error, or its model is told what was wrong."""
    if isinstance(event, StepFailed):
        context.budget_account.add(event)
        failed = step_error(step.name, step.number, event.problem, event.refusals)
        return context.steps.settle(step, error=failed)
    try:
        done = step.future.done()
        result = event.result if done else context.accepted(step, event.result, event)
    except (ValidationError, BadInput) as error:
        return _refuse(context, step, event, codec.explain(error))
    context.budget_account.add(event)
    return context.steps.settle(step, result)


def _refuse(context: ExecutionContext, step: Step, event: StepSucceeded, reason: str) -> None:
    """The output is not of the type that was asked for: a model is told so, a tool has failed."""
    problem = Problem(type="ValidationError", message=reason, retryable=False)
    if step.call is None:
        context.budget_account.add(event)
        return context.steps.settle(step, error=StepError(step.name, step.number, problem))
    critique = Critique(output=event.result, reason=reason)
    call = _answered(context, step.call, event)
    step.call = call.model_copy(update={"critiques": (*call.critiques, critique)})
    failure = AttemptFailed(
        task=event.task,
        call=call,
        candidate=event.candidate or step.name,
        problem=problem,
        critique=critique,
        duration_ms=event.duration_ms,
        at_ms=event.at_ms,
    )
    if (size := len(codec.encode(failure))) > PAYLOAD_BYTES_MAX:
        why = (
            f"{reason}; the model is not asked again, because with this output its outputs have "
            f"{size:,} bytes, too many for one record"
        )
        problem = Problem(type="TooLarge", message=why, retryable=False)
        context.budget_account.add(event)
        return context.steps.settle(step, error=StepError(step.name, step.number, problem))
    return context.publish("failures", failure)


def _answered(context: ExecutionContext, call: CallModel, event: StepSucceeded) -> CallModel:
    """The call as its candidate had it, with the critiques that this candidate got from here."""
    names = context.registry.model_route(call.route).names
    candidate = names.index(event.candidate) if event.candidate in names else call.candidate_index
    kept = call.critiques if candidate == call.candidate_index else ()
    known = {"attempt": event.attempt, "candidate_index": candidate, "critiques": kept}
    return call.model_copy(update={**known, "choice": event.choice, "spent": consumed(event)})
