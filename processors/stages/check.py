"""Stage `check`, the pure part: an output that was accepted is the step's result, a refused one loops back.

checks ─▶ check ─┬▶ events        accepted
                 ├▶ failures      refused, with the critique for the next attempt
                 └▶ model-calls   a model has to judge it first: see `processors/stages/judge.py`
"""

from segue.processors.routing.budget import exceeded, used_up
from segue.processors.stages.judge import call_of, total
from segue.processors.stages.reply import Reply
from segue.processors.stages.tool import failed, succeeded
from segue.topics.flow import Decision, Publish
from segue.topics.records import CheckOutput, Critique, Problem


def accepted(record: CheckOutput, now_ms: int) -> Decision:
    reply = Reply(record.result, record.candidate, record.usage)
    event = succeeded(record.call, reply, record.duration_ms, now_ms)
    if record.spent is not None:
        event = event.model_copy(update={"spent": record.spent})
    return Decision([Publish("events", record.task, event)])


def refused(record: CheckOutput, reason: str, now_ms: int) -> Decision:
    problem = Problem(type="OutputRejected", message=reason)
    return unchecked(record, problem, now_ms, Critique(output=record.result, reason=reason))


def unchecked(
    record: CheckOutput, problem: Problem, now_ms: int, critique: Critique | None = None
) -> Decision:
    """It was refused, or a check of it failed. What judges consumed by then goes on with the call."""
    call, usage = record.call, record.usage
    if record.spent is not None:
        call, usage = call.model_copy(update={"spent": record.spent}), None
    return failed(call, record.candidate, problem, record.duration_ms, now_ms, critique, usage)


def to_judge(record: CheckOutput, place: int, now_ms: int) -> Decision:
    """Have it judged by the check at `place`, unless the task's budget is used up by then."""
    over = used_up(total(record), record.call.budget)
    if over is not None:
        return unchecked(record, exceeded(f"{over} before the output was judged"), now_ms)
    call = call_of(record, record.call.checks[place], place, now_ms)
    return Decision([Publish("model-calls", record.task, call)])
