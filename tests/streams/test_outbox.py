"""What can't be written is told in its place, and stops no stage."""

from segue.streams.engine.outbox import Outbox
from segue.streams.settings import Settings
from segue.topics.flow import Decision, Publish
from segue.topics.records import Problem, StepSucceeded
from tests.builders import NOW_MS, call_tool, received

HALF = StepSucceeded(task="t", step=0, fingerprint="p", result="caf\udce9", at_ms=NOW_MS)
"""With half of a surrogate pair, as Python has file names that are no UTF-8."""


def told_of(result: StepSucceeded, *, instead: StepSucceeded | None) -> tuple[list[str], list[Problem]]:
    """The topics of what is published, and why it is not what came of the call."""
    problems: list[Problem] = []

    def decide(problem: Problem) -> Decision:
        problems.append(problem)
        assert instead is not None
        return Decision([Publish("events", "t", instead)])

    outbox = Outbox(Settings())
    cause = received("tool-calls", call_tool())
    decision = Decision([Publish("events", "t", result)])
    outbox.add_outcome(decision, cause, decide if instead else None, "tool", NOW_MS)
    return [publish.topic for publish in outbox.published], problems


def test_half_a_character_is_told_as_a_failure_of_its_call() -> None:
    topics, [problem] = told_of(HALF, instead=HALF.model_copy(update={"result": None}))
    assert (topics, problem.type, problem.retryable) == (["events"], "NoText", False)
    assert problem.message.startswith("it can't be written to 'events': ")


def test_it_is_a_dead_letter_where_that_can_not_be_written_either() -> None:
    assert told_of(HALF, instead=HALF)[0] == ["dead-letters"]
    assert told_of(HALF, instead=None) == (["dead-letters"], [])
