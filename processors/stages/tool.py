"""Stage `tool`, the pure part: the records to publish when a call of a tool has been answered or has failed.

    tool-calls ─▶ tool ─┬▶ events     the answer
                        ├▶ checks     the answer, if it must pass checks first
                        └▶ failures   the attempt failed

The call itself is the shell's (`streams/executors`). Calls of models end in the same ways.
"""

from segue.processors.routing.budget import together
from segue.processors.stages.judge import judged
from segue.processors.stages.reply import Reply
from segue.topics.flow import Decision, Publish
from segue.topics.parts import Usage
from segue.topics.records import (
    AttemptFailed,
    CallModel,
    CallTool,
    CheckOutput,
    Critique,
    Problem,
    StepSucceeded,
)
from segue.topics.trusted import trusted


def replied(call: CallModel | CallTool, reply: Reply, duration_ms: float, now_ms: int) -> Decision:
    if isinstance(call, CallModel) and call.judging is not None:
        return Decision([Publish("checks", call.task, judged(call, call.judging, reply, now_ms))])
    if call.checks:
        output = CheckOutput(
            task=call.task,
            call=call,
            result=reply.result,
            candidate=reply.candidate,
            duration_ms=duration_ms,
            usage=reply.usage,
            at_ms=now_ms,
        )
        return Decision([Publish("checks", call.task, output)])
    return Decision([Publish("events", call.task, succeeded(call, reply, duration_ms, now_ms))])


def succeeded(call: CallModel | CallTool, reply: Reply, duration_ms: float, now_ms: int) -> StepSucceeded:
    return trusted(
        StepSucceeded,
        task=call.task,
        step=call.step,
        fingerprint=call.fingerprint,
        result=reply.result,
        attempt=call.attempt,
        route=call.route,
        candidate=reply.candidate,
        duration_ms=duration_ms,
        usage=reply.usage,
        spent=together(call.spent, reply.usage) if call.spent else None,
        choice=call.choice,
        at_ms=now_ms,
    )


def failed(
    call: CallModel | CallTool,
    by: str,
    problem: Problem,
    duration_ms: float,
    now_ms: int,
    critique: Critique | None = None,
    usage: Usage | None = None,
) -> Decision:
    failure = AttemptFailed(
        task=call.task,
        call=call,
        candidate=by,
        problem=problem,
        critique=critique,
        usage=usage,
        duration_ms=duration_ms,
        at_ms=now_ms,
    )
    return Decision([Publish("failures", call.task, failure)])
