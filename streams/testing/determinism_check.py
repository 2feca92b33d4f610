"""Each event is decided twice: by the stage that remembers, and by one that plays the task's journal anew.

Whatever a workflow takes from outside of its task (a clock, chance, a counter, memory addresses) shows as a
difference between the two, at the step where it first matters.
"""

from collections.abc import Iterator
from datetime import UTC, datetime
from itertools import zip_longest

from segue.processors.formatting import preview
from segue.topics.errors import NotDurable
from segue.topics.flow import Decision, Publish
from segue.topics.records import (
    CallModel,
    CallTool,
    Delay,
    Question,
    Result,
    Status,
    StepFailed,
    StepSucceeded,
    Submitted,
)

ADVICE = (
    "Segue replays a workflow over its log after it left memory, so it must request the same calls again: "
    "take the time from task.now(), chance from task.random, sort sets, keep no state outside of it, and "
    "leave to tools what touches the world."
)


def ensure_same(task: str, first: Decision, again: Decision) -> None:
    """Raises `NotDurable`."""
    if first != again:
        raise NotDurable(f"task {task!r} is not deterministic: {_difference(first, again)}. {ADVICE}")


def _difference(first: Decision, again: Decision) -> str:
    """Where it was parked, its log says more than what it asks for since."""
    for status in _statuses(again):
        if status.state == "parked" and status.problem and status not in _statuses(first):
            how, _, _ = status.problem.message.rpartition(": ")
            return f"played again, {how}"
    for was, now in zip_longest(first.publish, again.publish):
        if was != now:
            return f"{_step(was or now)}it came to {_describe(was)}, and played again to {_describe(now)}"
    return "played again, it leaves other state"


def _statuses(decision: Decision) -> Iterator[Status]:
    return (each.value for each in decision.publish if isinstance(each.value, Status))


def _step(publish: Publish | None) -> str:
    step = getattr(publish.value, "step", None) if publish is not None else None
    return "" if step is None else f"at step {step} "


def _describe(publish: Publish | None) -> str:
    match publish.value if publish is not None else None:
        case CallTool() as call:
            return f"a call of tool {call.route!r} with {_preview(call.arguments)}"
        case CallModel() as call:
            return f"a call of model {call.route!r} with {_preview(call.prompt)}"
        case Question() as question:
            return f"the question {question.text!r} to {question.to!r} with {_preview(question.options)}"
        case Delay() as delay:
            return f"a timer until {datetime.fromtimestamp(delay.due_ms / 1000, UTC):%Y-%m-%d %H:%M:%S.%f}"
        case Submitted() as child:
            return f"task {child.task!r} of workflow {child.workflow!r} with {_preview(child.input)}"
        case Result() as result if result.problem is not None:
            return f"its end, {result.outcome}: {result.problem.message}"
        case Result() | StepSucceeded() as result:
            return f"the result {_preview(result.result)}"
        case StepFailed() as failed:
            return f"the failure {failed.problem.message}"
        case Status() as status:
            return f"{status.state}, showing {_preview(status.view)}"
        case None:
            return "nothing more"
        case other:
            return getattr(other, "kind", "nothing")


def _preview(value: object) -> str:
    return preview(value) or "nothing"
