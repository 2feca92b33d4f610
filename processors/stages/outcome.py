"""The outcome of a call or a check as a value, and the records that are published for it.

a call    ─▶ Answered · Failed · Requeued · NoCandidate
a check   ─▶ Accepted · Rejected · JudgeNeeded · Failed
"""

from typing import NamedTuple, assert_never

from segue.processors.stages.check import accepted, refused, to_judge, unchecked
from segue.processors.stages.recover import publish_call
from segue.processors.stages.reply import Reply
from segue.processors.stages.tool import failed, replied
from segue.topics.flow import Decision, Headers
from segue.topics.parts import Usage
from segue.topics.records import CallModel, CallTool, CheckOutput, Critique, Problem


class Answered(NamedTuple):
    reply: Reply
    duration_ms: float = 0.0


class Failed(NamedTuple):
    """An attempt failed. `critique` and `usage` are of a model's output that is no answer."""

    problem: Problem
    critique: Critique | None = None
    usage: Usage | None = None
    timed_out: bool = False
    duration_ms: float = 0.0


class Requeued(NamedTuple):
    """The call was not made: it goes back to its topic, with a choice or onto another partition."""

    call: CallModel | CallTool
    headers: Headers = ()
    partition: int | None = None


class NoCandidate(NamedTuple):
    """The route's `choose` failed, so no candidate may be called. `call` has an empty order of candidates."""

    call: CallModel | CallTool
    chooser: str
    problem: Problem


class Accepted(NamedTuple):
    """All checks accept the output."""


class Rejected(NamedTuple):
    """A check raised `OutputRejected`."""

    reason: str


class JudgeNeeded(NamedTuple):
    """The check at `place` is a model's to make."""

    place: int


Outcome = Answered | Failed | Requeued | NoCandidate | Accepted | Rejected | JudgeNeeded


def decision_of(
    asked: CallModel | CallTool | CheckOutput, candidate: str, outcome: Outcome, now_ms: int
) -> Decision:
    """The records to publish. `asked` is as it was received: values that it refers to stay references."""
    match outcome:
        case Answered():
            return replied(_call(asked), outcome.reply, outcome.duration_ms, now_ms)
        case Failed():
            return _failed(asked, candidate, outcome, now_ms)
        case Requeued(call, headers, partition):
            return Decision([publish_call(call)._replace(headers=headers, partition=partition)])
        case NoCandidate(call, chooser, problem):
            return failed(call, chooser, problem, 0.0, now_ms)
        case Accepted():
            return accepted(_output(asked), now_ms)
        case Rejected(reason):
            return refused(_output(asked), reason, now_ms)
        case JudgeNeeded(place):
            return to_judge(_output(asked), place, now_ms)
        case _:
            assert_never(outcome)


def _failed(
    asked: CallModel | CallTool | CheckOutput, candidate: str, outcome: Failed, now_ms: int
) -> Decision:
    if isinstance(asked, CheckOutput):
        return unchecked(asked, outcome.problem, now_ms)
    rest = (outcome.duration_ms, now_ms, outcome.critique, outcome.usage)
    return failed(asked, candidate, outcome.problem, *rest)


def _call(asked: CallModel | CallTool | CheckOutput) -> CallModel | CallTool:
    assert not isinstance(asked, CheckOutput), "a check has a verdict"
    return asked


def _output(asked: CallModel | CallTool | CheckOutput) -> CheckOutput:
    assert isinstance(asked, CheckOutput), "only a check has a verdict"
    return asked
