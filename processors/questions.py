"""The open questions of a task, by the numbers of their steps: asked, answered, and closed."""

from typing import TYPE_CHECKING, Any, Literal

from pydantic import ValidationError

from processors.step import Step
from topics import codec
from topics.errors import BadInput
from topics.records import Answered, Question, QuestionClosed

if TYPE_CHECKING:
    from processors.performance import Performance


def objection(performance: "Performance", event: Answered) -> str | None:
    """Why the answer can't be accepted, in words for the one who gave it; None if it can."""
    step = _asked_by(performance, event)
    if step is not None and step.accept is not None:
        try:
            step.accept(event.value)
        except (ValidationError, BadInput) as error:
            return codec.explain(error)
        return None
    asked = performance.steps.at(event.step) if event.step is not None else None
    if asked is not None and asked.question:
        return f"the question at step {event.step} is closed"
    questions = performance.questions
    if len(questions) > 1:
        return f"which question? Name the step: {sorted(questions)} are open"
    return "the task asks nothing now" if not questions else f"step {event.step} is no question"


def answer(performance: "Performance", event: Answered) -> None:
    step = _asked_by(performance, event)
    if step is None or step.accept is None:
        return
    try:
        given = step.accept(event.value)
    except (ValidationError, BadInput):
        return  # it came while the task was parked, when nobody could object
    settle_question(performance, step, given)


def _asked_by(performance: "Performance", event: Answered) -> Step | None:
    if event.step is not None:
        return performance.questions.get(event.step)
    return next(iter(performance.questions.values())) if len(performance.questions) == 1 else None


def open_question(performance: "Performance", step: Step, to: str, text: str, **more: Any) -> None:
    step.question = Question(
        task=performance.task_id,
        step=step.number,
        workflow=performance.submitted.workflow,
        to=to,
        text=text,
        at_ms=performance.now_ms,
        **more,
    )
    performance.questions[step.number] = step
    performance.publish("questions", step.question)


def close_question(
    performance: "Performance", step: Step, reason: Literal["answered", "expired", "ended"]
) -> None:
    if performance.questions.pop(step.number, None) is None:
        return
    closed = QuestionClosed(
        task=performance.task_id, step=step.number, reason=reason, at_ms=performance.now_ms
    )
    performance.publish("questions", closed)


def settle_question(performance: "Performance", step: Step, given: Any) -> None:
    """It needs no answer any more: `given` is what it has come to."""
    close_question(performance, step, "answered")
    performance.steps.settle(step, given)
