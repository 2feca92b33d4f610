"""The open questions of a task, by the numbers of their steps: asked, answered, and closed."""

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, Literal

from pydantic import ValidationError

from segue.processors.payloads.blob import unmarked
from segue.processors.workflow.state.step import Step
from segue.topics import codec
from segue.topics.errors import BadInput
from segue.topics.records import Answered, Given, Option, Question, QuestionClosed

if TYPE_CHECKING:
    from segue.processors.workflow.execution import Performance


def option_with(value: Any, options: Iterable[Option]) -> Option | None:
    """The option with that value, if there is one, as it stands in the record or as it was before."""
    return next((each for each in options if _offers(each.value, value)), None)


def _offers(offered: Any, value: Any) -> bool:
    return is_same(offered, value) or is_same(unmarked(offered), value)


def is_same(one: Any, other: Any) -> bool:
    """Whether two JSON values are equal: for Python `true` is 1 as well, and a yes would be option 1."""
    kinds: set[type[Any]] = {type(one), type(other)}
    if bool in kinds:
        return one is other
    if kinds == {list}:
        return len(one) == len(other) and all(map(is_same, one, other))
    if kinds == {dict}:
        return one.keys() == other.keys() and all(is_same(one[key], other[key]) for key in one)
    return bool(one == other)


def objection(performance: "Performance", event: Answered) -> str | None:
    """Why the answer can't be accepted, in words for the one who gave it; None if it can."""
    step = _asked_by(performance, event)
    if step is not None and step.accept is not None:
        try:
            performance.accepted(step, event.value, event)
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
        given = performance.accepted(step, event.value, event)
    except (ValidationError, BadInput):
        return  # it came while the task was parked, when nobody could object
    settle_question(performance, step, given, Given(id=event.id, value=event.value, by=event.by))


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
    performance: "Performance",
    step: Step,
    reason: Literal["answered", "expired", "ended"],
    answer: Given | None = None,
) -> None:
    if performance.questions.pop(step.number, None) is None:
        return
    facts: dict[str, Any] = {"task": performance.task_id, "step": step.number, "at_ms": performance.now_ms}
    performance.publish("questions", QuestionClosed(**facts, reason=reason, answer=answer))


def settle_question(performance: "Performance", step: Step, given: Any, answer: Given | None = None) -> None:
    """It needs no answer any more: `given` is what it has come to, by that `answer` if by one."""
    close_question(performance, step, "answered", answer)
    performance.steps.settle(step, given)
