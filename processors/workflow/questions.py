"""The open questions of a task, by the numbers of their steps: asked, answered, and closed."""

from typing import Any, Literal

from pydantic import ValidationError

from segue.processors.workflow.context import ExecutionContext
from segue.processors.workflow.state.step import Step
from segue.topics import codec
from segue.topics.errors import BadInput
from segue.topics.records import Answered, Given, Question, QuestionClosed


def objection(context: ExecutionContext, event: Answered) -> str | None:
    """Why the answer can't be accepted, in words for the one who gave it; None if it can."""
    step = _asked_by(context, event)
    if step is not None and step.accept is not None:
        try:
            context.accepted(step, event.value, event)
        except (ValidationError, BadInput) as error:
            return codec.explain(error)
        return None
    asked = context.steps.at(event.step) if event.step is not None else None
    if asked is not None and asked.question:
        return f"the question at step {event.step} is closed"
    questions = context.questions
    if len(questions) > 1:
        return (
            "the answer names no step, and several questions are open: give the step, one of "
            f"{sorted(questions)}"
        )
    return "the task has no open question" if not questions else f"step {event.step} is not a question"


def answer(context: ExecutionContext, event: Answered) -> None:
    step = _asked_by(context, event)
    if step is None or step.accept is None:
        return
    try:
        given = context.accepted(step, event.value, event)
    except (ValidationError, BadInput):
        return  # it came while the task was parked, when nobody could object
    settle_question(context, step, given, Given(id=event.id, value=event.value, by=event.by))


def _asked_by(context: ExecutionContext, event: Answered) -> Step | None:
    if event.step is not None:
        return context.questions.get(event.step)
    return next(iter(context.questions.values())) if len(context.questions) == 1 else None


def open_question(context: ExecutionContext, step: Step, to: str, text: str, **more: Any) -> None:
    step.question = Question(
        task=context.task_id,
        step=step.number,
        workflow=context.submitted.workflow,
        to=to,
        text=text,
        at_ms=context.now_ms,
        **more,
    )
    context.questions[step.number] = step
    context.publish("questions", step.question)


def close_question(
    context: ExecutionContext,
    step: Step,
    reason: Literal["answered", "expired", "ended"],
    answer: Given | None = None,
) -> None:
    if context.questions.pop(step.number, None) is None:
        return
    facts: dict[str, Any] = {"task": context.task_id, "step": step.number, "at_ms": context.now_ms}
    context.publish("questions", QuestionClosed(**facts, reason=reason, answer=answer))


def settle_question(context: ExecutionContext, step: Step, given: Any, answer: Given | None = None) -> None:
    """It needs no answer any more: `given` is what it has come to, by that `answer` if by one."""
    close_question(context, step, "answered", answer)
    context.steps.settle(step, given)
