"""What an outcome publishes: one row for each that a call or a check can come to."""

from typing import Any

import pytest

from segue.processors.stages.outcome import (
    Accepted,
    Answered,
    Failed,
    JudgeNeeded,
    NoCandidate,
    Outcome,
    Rejected,
    Requeued,
    decision_of,
)
from segue.processors.stages.reply import Reply
from segue.topics.flow import MOVED
from segue.topics.parts import Usage
from segue.topics.records import (
    AttemptFailed,
    CallModel,
    CallTool,
    CheckCall,
    CheckOutput,
    Critique,
    Problem,
    StepSucceeded,
)
from tests.builders import call_tool

CALL = call_tool()
CHECKED = CALL.model_copy(update={"checks": (CheckCall(name="is_quiet", judge="critic"),)})
OUTPUT = CheckOutput(
    task=CALL.task, call=CHECKED, result="a room", candidate="rooms", duration_ms=2.0, at_ms=0
)
PROBLEM = Problem(type="Http", message="503")
CRITIQUE = Critique(output="a room", reason="it is loud")
USAGE = Usage(model="m", input_tokens=3, output_tokens=4)


@pytest.mark.parametrize(
    ("asked", "outcome", "topic", "kind"),
    [
        (CALL, Answered(Reply("a room", "rooms")), "events", StepSucceeded),
        (CHECKED, Answered(Reply("a room", "rooms")), "checks", CheckOutput),
        (CALL, Failed(PROBLEM), "failures", AttemptFailed),
        (CALL, Requeued(CALL), "tool-calls", CallTool),
        (CALL, NoCandidate(CALL, "fastest", PROBLEM), "failures", AttemptFailed),
        (OUTPUT, Accepted(), "events", StepSucceeded),
        (OUTPUT, Rejected("it is loud"), "failures", AttemptFailed),
        (OUTPUT, JudgeNeeded(0), "model-calls", CallModel),
        (OUTPUT, Failed(PROBLEM), "failures", AttemptFailed),
    ],
)
def test_an_outcome_is_one_record(asked: Any, outcome: Outcome, topic: str, kind: type) -> None:
    [publish] = decision_of(asked, "rooms", outcome, 5).publish
    assert (publish.topic, publish.key, type(publish.value)) == (topic, CALL.task, kind)


def test_a_failure_keeps_its_critique_what_it_consumed_and_its_time() -> None:
    outcome = Failed(PROBLEM, CRITIQUE, USAGE, duration_ms=7.0)
    [publish] = decision_of(CALL, "rooms", outcome, 5).publish
    failure = publish.value
    assert isinstance(failure, AttemptFailed)
    assert (failure.candidate, failure.critique, failure.usage) == ("rooms", CRITIQUE, USAGE)
    assert (failure.duration_ms, failure.at_ms) == (7.0, 5)


def test_a_route_that_could_not_choose_fails_by_its_chooser() -> None:
    [publish] = decision_of(CALL, "rooms", NoCandidate(CALL, "fastest", PROBLEM), 5).publish
    assert isinstance(publish.value, AttemptFailed)
    assert publish.value.candidate == "fastest"


def test_a_call_that_was_moved_goes_to_its_partition() -> None:
    [publish] = decision_of(CALL, "rooms", Requeued(CALL, ((MOVED, b""),), 3), 5).publish
    assert (publish.value, publish.headers, publish.partition) == (CALL, ((MOVED, b""),), 3)


@pytest.mark.parametrize(("asked", "outcome"), [(CALL, Accepted()), (OUTPUT, Answered(Reply(1, "rooms")))])
def test_a_call_has_no_verdict_and_a_check_no_answer(asked: Any, outcome: Outcome) -> None:
    with pytest.raises(AssertionError, match="a verdict"):
        decision_of(asked, "rooms", outcome, 5)
