"""The fold of a task's records into what people see."""

import asyncio
from itertools import count
from typing import Any

import pytest

from segue import App, Task, Workflow, workflow
from segue.processors.views.descriptions import answer_line
from segue.processors.views.timeline import Timeline
from segue.processors.views.timeline_events import DEADLINE, Attempt, TimelineEvent
from segue.topics import codec
from segue.topics.contracts import LOG_TOPICS
from segue.topics.flow import Received
from segue.topics.records import (
    Answered,
    AttemptFailed,
    CallTool,
    CheckCall,
    Critique,
    Delay,
    Given,
    Option,
    Origin,
    Problem,
    Question,
    QuestionClosed,
    Record,
    Rejected,
    Result,
    Status,
    StepFailed,
    StepSucceeded,
    Submitted,
    TimerFired,
)
from tests.driver import Driver

OFFSETS = count()
OPTIONS = (Option(label="Alba", value=1), Option(label="Casa do Mar", value=2))


def at(topic: str, record: Record, at_ms: int = 1000) -> Received:
    return Received(topic, 0, next(OFFSETS), b"t", codec.encode(record), (), at_ms)


def call(attempt: int = 1, candidate: int = 0, **fields: Any) -> CallTool:
    first = CallTool(task="t", step=0, fingerprint="p", workflow="w", route="rooms", arguments={}, at_ms=1000)
    return first.model_copy(update={"attempt": attempt, "candidate_index": candidate, **fields})


def failed(of: CallTool, message: str = "503", critique: Critique | None = None) -> AttemptFailed:
    problem = Problem(type="Problem", message=message)
    return AttemptFailed(
        task="t",
        call=of,
        candidate="primary",
        problem=problem,
        critique=critique,
        duration_ms=8.0,
        at_ms=1008,
    )


def succeeded(attempt: int = 1, step: int = 0, by: str = "primary") -> StepSucceeded:
    return StepSucceeded(
        task="t",
        step=step,
        fingerprint="p",
        result={"free": True},
        attempt=attempt,
        candidate=by,
        duration_ms=5.0,
        at_ms=1050,
    )


def question(closes_at_ms: int | None = None) -> Question:
    return Question(
        task="t",
        step=0,
        workflow="w",
        to="me",
        text="Which?",
        options=OPTIONS,
        closes_at_ms=closes_at_ms,
        at_ms=1000,
    )


def origin() -> Origin:
    return Origin(topic="signals", partition=0, offset=0)


def told(*records: Received, timeline: Timeline | None = None) -> list[TimelineEvent]:
    timeline = timeline or Timeline("t")
    return [event for record in records if (event := timeline.apply(record))]


def test_a_retry_is_told_with_its_wait() -> None:
    retry = Delay(task="t", id="0/2", due_ms=1408, topic="tool-calls", record=call(2, tries=1))
    timeline = Timeline("t")
    events = told(
        at("tool-calls", call()),
        at("failures", failed(call()), 1008),
        at("delays", retry, 1008),
        at("tool-calls", call(2, tries=1), 1408),
        at("events", succeeded(2)),
        timeline=timeline,
    )
    assert events == [
        TimelineEvent(1008, "tool", "rooms", 0, "primary", 1, "failed", 8.0, "503"),
        TimelineEvent(1008, "retry", "rooms", 0, "primary", 2, "again", text="in 400 ms"),
        TimelineEvent(1050, "tool", "rooms", 0, "primary", 2, "ok", 5.0, "free=true"),
    ]
    assert timeline.steps[0].attempts[1] == Attempt(
        1, 0, "primary", 1000, "failed", 8.0, "503", then="retry", wait_ms=400
    )


def test_a_reroute_names_the_candidate_where_the_app_is_known() -> None:
    timeline = Timeline("t", {"rooms": ["primary", "spare"]})
    events = told(
        at("tool-calls", call()),
        at("failures", failed(call())),
        at("tool-calls", call(2, candidate=1)),
        timeline=timeline,
    )
    assert events[1:] == [TimelineEvent(1000, "reroute", "rooms", 0, "spare", 2, "again", text="to spare")]


def test_a_refused_output_is_told_by_the_check_and_asked_for_again() -> None:
    first = call(checks=(CheckCall(name="known"),))
    critique = Critique(output="x", reason="no such hotel")
    timeline = Timeline("t")
    events = told(
        at("tool-calls", first),
        at("failures", failed(first, "no such hotel", critique)),
        at("tool-calls", call(2, critiques=(critique,))),
        timeline=timeline,
    )
    assert timeline.steps[0].attempts[1].refused == "x"
    assert [(m.what, m.text) for m in events] == [
        ("check", "refused: no such hotel"),
        ("again", "asked again, with the critique"),
    ]


def test_an_output_that_the_workflow_refuses_is_no_success() -> None:
    timeline = Timeline("t")
    critique = Critique(output={}, reason="field missing")
    told(
        at("tool-calls", call()),
        at("events", succeeded()),
        at("failures", failed(call(), "field missing", critique)),
        timeline=timeline,
    )
    step = timeline.steps[0]
    assert (step.outcome, step.attempts[1].outcome) == ("running", "refused")


def test_giving_up_is_told_once_by_the_step() -> None:
    gave_up = StepFailed(
        task="t",
        step=0,
        fingerprint="p",
        problem=Problem(type="P", message="503"),
        candidate="primary",
        at_ms=1010,
    )
    why = (("segue-stage", b"conduct"), ("segue-topic", b"events"), ("segue-reason", b"rooms: 503"))
    letter = Received("dead-letters", 0, 7, b"t", codec.encode(gave_up), why, 1010)
    timeline = Timeline("t")
    events = told(
        at("tool-calls", call()),
        at("failures", failed(call())),
        at("events", gave_up),
        letter,
        timeline=timeline,
    )
    assert [m.text for m in events] == ["503", "gave up: 503"]
    assert timeline.steps[0].attempts[1].then == "give up"


def test_the_first_outcome_of_a_step_is_the_one_that_is_shown() -> None:
    """A call that was made twice may fail after it was answered, or be answered after it failed."""
    problem = Problem(type="P", message="503")
    gave_up = StepFailed(task="t", step=0, fingerprint="p", problem=problem, candidate="primary", at_ms=1060)
    answered, gave_up_first = Timeline("t"), Timeline("t")
    told(
        at("tool-calls", call()),
        at("events", succeeded()),
        at("failures", failed(call())),
        at("events", gave_up),
        at("tool-calls", call(2, tries=1)),
        timeline=answered,
    )
    step = answered.steps[0]
    assert (step.outcome, step.result, step.attempts[1].outcome) == ("succeeded", {"free": True}, "succeeded")
    assert (step.problem, answered.running) == (None, [])
    told(at("tool-calls", call()), at("events", gave_up), at("events", succeeded()), timeline=gave_up_first)
    assert (gave_up_first.steps[0].outcome, gave_up_first.steps[0].result) == ("failed", None)


def test_a_record_seen_twice_is_told_once() -> None:
    record = at("tool-calls", call())
    failure = at("failures", failed(call()))
    again = at("failures", failed(call()))
    assert len(told(record, record, failure, failure, again)) == 1


def test_an_outcome_may_be_seen_before_its_call() -> None:
    timeline = Timeline("t")
    told(at("events", succeeded()), at("tool-calls", call()), timeline=timeline)
    step = timeline.steps[0]
    assert (step.kind, step.name, step.outcome, step.attempts[1].started_ms) == (
        "tool",
        "rooms",
        "succeeded",
        1000,
    )


def given(id_: str, value: Any, by: str, step: int | None = 0, at_ms: int = 1100) -> Answered:
    return Answered(task="t", id=id_, step=step, value=value, by=by, origin=origin(), at_ms=at_ms)


def closed_by(id_: str, value: Any, by: str | None = None) -> QuestionClosed:
    answer = Given(id=id_, value=value, by=by)
    return QuestionClosed(task="t", step=0, reason="answered", answer=answer, at_ms=1100)


def late(answer: Answered) -> Received:
    why = (("segue-topic", b"events"), ("segue-stage", b"conduct"), ("segue-reason", b"it is closed"))
    return Received("dead-letters", 0, next(OFFSETS), b"t", codec.encode(answer), why, 1102)


@pytest.mark.parametrize("step", [0, None])
@pytest.mark.parametrize("order", [(0, 1, 2, 3), (0, 2, 1, 3), (2, 0, 1, 3), (2, 0, 3, 1), (2, 3, 0, 1)])
def test_the_answer_that_counted_is_shown_and_the_other_beside_it(
    order: tuple[int, ...], step: int | None
) -> None:
    """Whatever order the records of several topics are seen in."""
    first, second = given("a", 2, "ann", step), given("b", 1, "bob", step, 1101)
    records = (
        at("events", first),
        at("events", second),
        at("questions", closed_by("a", 2, "ann")),
        late(second),
    )
    timeline = Timeline("t")
    told(at("questions", question()), timeline=timeline)
    events = told(*(records[number] for number in order), timeline=timeline)
    assert sorted((m.by, m.mark, m.text) for m in events) == [
        ("ann", "ok", "Casa do Mar"),
        ("bob", "failed", "Alba: it is closed"),
    ]
    shown = timeline.steps[0]
    assert (shown.outcome, shown.result, shown.answered_by) == ("succeeded", 2, "ann")
    if step is not None:
        answers = {answer.id: (answer.value, answer.counts) for answer in shown.answers.values()}
        assert answers == {"a": (2, True), "b": (1, False)}
        assert "bob answered Alba, which did not count: it is closed" in [
            answer_line(shown, answer) for answer in shown.answers.values() if not answer.counts
        ]


def test_an_answer_that_comes_after_the_deadline_is_no_result() -> None:
    expired = QuestionClosed(task="t", step=0, reason="expired", at_ms=1050)
    timeline = Timeline("t")
    answer = given("a", 2, "ann")
    told(at("questions", question()), at("questions", expired), timeline=timeline)
    told(at("events", answer), late(answer), timeline=timeline)
    step = timeline.steps[0]
    assert (step.outcome, step.result, step.answered_by) == ("ended", None, None)
    assert step.answers["a"].counts is False


def test_an_answer_is_told_by_its_label_and_closes_the_question() -> None:
    answered = Answered(task="t", id="a", step=None, value=2, by="ann", origin=origin(), at_ms=1100)
    closed = closed_by("a", 2, "ann")
    timeline = Timeline("t")
    asked = told(at("questions", question()), timeline=timeline)
    assert asked == [TimelineEvent(1000, "ask", "me", 0, mark="waiting", text="Which?", options=OPTIONS)]
    assert timeline.open_questions == [question()]
    assert told(at("events", answered), at("questions", closed), timeline=timeline) == [
        TimelineEvent(1100, "answer", "me", 0, "ann", mark="ok", text="Casa do Mar")
    ]
    assert timeline.open_questions == []


@workflow(name="run")
async def asks(task: Task) -> None:
    asked = asyncio.create_task(task.ask("me", "Which?", answer=int))
    await task.signal("go")
    raise KeyError(await asked)


@workflow(name="run")
async def breaks(task: Task) -> None:
    asked = asyncio.create_task(task.ask("me", "Which?", answer=int))
    await task.signal("go")
    raise KeyError(asked.done())


@workflow(name="run")
async def other(task: Task) -> None:
    await task.signal("go")


def played(run: Workflow[Any, Any], then: Workflow[Any, Any] | None = None) -> Driver:
    """Asked, and parked: by other code, or by its own where there is no other."""
    driver = Driver(App("x", workflows=[run]))
    driver.submit("run")
    driver.run(until_ms=driver.now_ms + 1)
    if then is not None:
        driver.restart(App("x", workflows=[then]))
    driver.produce("signals", {"kind": "signal", "task": "t", "name": "go"})
    driver.run(until_ms=driver.now_ms + 1)
    assert driver.records("status", "t")[-1].state == "parked"
    return driver


def answers_taken(driver: Driver) -> list[int]:
    """The steps whose questions the task's timeline says are open."""
    records = (r for topic in LOG_TOPICS for r in driver.logs[topic] if r.key == b"t")
    timeline = Timeline("t")
    told(*sorted(records, key=lambda record: record.timestamp_ms), timeline=timeline)
    return [question.step for question in timeline.open_questions]


def test_a_parked_task_takes_an_answer_once() -> None:
    driver = played(breaks)
    assert answers_taken(driver) == [1]
    driver.produce("signals", {"kind": "answer", "task": "t", "step": 1, "value": 3})
    driver.run(until_ms=driver.now_ms + 1)
    assert answers_taken(driver) == []


def test_a_task_whose_code_went_on_takes_an_answer_again() -> None:
    driver = played(breaks)
    driver.restart(App("x", workflows=[asks]))
    driver.run(until_ms=driver.now_ms + 1)
    assert driver.records("status", "t")[-1].state == "waiting"
    assert answers_taken(driver) == [1]


def test_where_other_code_asks_nothing_no_answer_is_taken() -> None:
    assert answers_taken(played(asks, other)) == []


def test_a_task_that_was_ended_by_force_takes_no_answer() -> None:
    driver = played(asks, other)
    driver.produce("signals", {"kind": "cancel", "task": "t", "force": True})
    driver.run()
    assert driver.result().outcome == "cancelled"
    assert answers_taken(driver) == []


def test_a_yes_is_not_told_as_the_option_of_value_1() -> None:
    assert told(at("questions", question()), at("questions", closed_by("a", value=True)))[-1].text == "true"


def test_the_deadline_of_a_question_is_no_moment_of_its_own() -> None:
    fired = TimerFired(task="t", step=1, fingerprint="p", closes=0, at_ms=5000)
    delay = Delay(task="t", id="1", due_ms=5000, topic="events", record=fired)
    timeline = Timeline("t")
    told(at("questions", question(closes_at_ms=5000)), timeline=timeline)
    assert told(at("delays", delay), at("events", fired), timeline=timeline) == []
    assert timeline.steps[1].name == DEADLINE


def test_a_timer_that_is_due_when_a_question_closes_is_told() -> None:
    fired = TimerFired(task="t", step=1, fingerprint="p", at_ms=5000)
    delay = Delay(task="t", id="1", due_ms=5000, topic="events", record=fired)
    timeline = Timeline("t")
    told(at("questions", question(closes_at_ms=5000)), timeline=timeline)
    assert [m.what for m in told(at("delays", delay), at("events", fired), timeline=timeline)] == [
        "timer"
    ] * 2


def test_a_child_and_a_timer_show_without_a_command() -> None:
    fired = TimerFired(task="t", step=1, fingerprint="p", at_ms=3000)
    events = told(at("events", succeeded(step=0, by="t/0")), at("events", fired, 3000))
    assert events == [
        TimelineEvent(1050, "child", "…/0", 0, "t/0", None, "ok", None, "free=true"),
        TimelineEvent(3000, "timer", step=1, mark="ok", text="is due"),
    ]


def test_a_local_tool_shows_without_a_command() -> None:
    timeline = Timeline("t")
    outcome = succeeded(step=0, by="search").model_copy(update={"route": "search", "duration_ms": 4.0})
    assert told(at("events", outcome), timeline=timeline) == [
        TimelineEvent(1050, "tool", "search", 0, "search", 1, "ok", 4.0, "free=true")
    ]
    assert (timeline.steps[0].kind, timeline.steps[0].started_ms) == ("tool", 1046)


def test_a_parked_task_says_where() -> None:
    problem = Problem(type="WorkflowChanged", message="step 3 is on the log, but …")
    status = Status(
        task="t",
        workflow="w",
        version=1,
        state="parked",
        problem=problem,
        partition=0,
        offset=0,
        started_ms=1,
        at_ms=9,
    )
    timeline = Timeline("t")
    assert told(at("status", status), at("status", status), timeline=timeline) == [
        TimelineEvent(9, "parked", mark="failed", text=problem.message)
    ]
    assert timeline.state == "parked"


def test_the_task_begins_and_ends() -> None:
    submitted = Submitted(task="t", workflow="w", version=1, input={"place": "Lisbon"}, at_ms=1000)
    result = Result(task="t", workflow="w", outcome="succeeded", result=["a"], started_ms=1000, at_ms=3000)
    timeline = Timeline("t")
    assert told(at("events", submitted), at("results", result), timeline=timeline) == [
        TimelineEvent(1000, "task", "w", text="place=Lisbon"),
        TimelineEvent(3000, "result", "succeeded", mark="ok", duration_ms=2000.0, text="1 item: a"),
    ]
    assert (timeline.state, timeline.ended, timeline.result) == ("succeeded", True, ["a"])


def test_bytes_that_are_no_record_are_passed_over() -> None:
    assert told(Received("events", 0, 1, b"t", b"\xff", (), 0)) == []


def test_a_request_that_is_rejected_does_not_end_the_task_whose_id_it_bears() -> None:
    begun = Submitted(task="t", workflow="trip", version=1, input=None, at_ms=1000)
    rejected = Rejected(task="t", workflow="nope", problem=Problem(type="BadInput", message="no"), at_ms=1001)
    timeline = Timeline("t")
    for event in (begun, rejected):
        timeline.apply(at("events", event))
    assert (timeline.state, timeline.workflow, timeline.problem) == ("running", "trip", None)


def test_a_task_may_begin_after_a_request_with_its_id_was_rejected() -> None:
    rejected = Rejected(task="t", workflow="nope", problem=Problem(type="BadInput", message="no"), at_ms=1000)
    begun = Submitted(task="t", workflow="trip", version=1, input=None, at_ms=1001)
    timeline = Timeline("t")
    timeline.apply(at("events", rejected))
    assert timeline.state == "rejected"
    timeline.apply(at("events", begun))
    assert (timeline.state, timeline.ended, timeline.problem) == ("running", False, None)
