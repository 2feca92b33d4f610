"""Tasks that go on anew, and what tasks show of themselves."""

import asyncio
import random
from typing import Any

from segue import App, BadInput, Task, Workflow, tool, workflow
from segue.processors.limits import Limits
from segue.processors.stages.conduct import Conduct
from segue.processors.views.timeline import Timeline
from segue.streams.testing.replay import Replay
from segue.topics.records import CallTool, CancelRequested, QuestionClosed, Status, Submitted
from tests.corpus import CASES, driver
from tests.driver import Driver

RUNS = 1_000


@tool
async def same(number: int) -> int:
    return number


@workflow
async def counts(task: Task, number: int) -> int:
    task.set_view({"number": number})
    number = await task.tool(same, number + 1)
    if number < RUNS:
        task.continue_as_new(number)
    return number


def submitted(*workflows: Workflow[Any, Any], given: Any = None, **options: Any) -> Driver:
    played = Driver(App("again", workflows=workflows, tools=[same]), **options)
    played.submit(workflows[0].name, given)
    return played


def runs(played: Driver) -> list[Submitted]:
    return [event for event in played.records("events", "t") if isinstance(event, Submitted)]


def anew() -> Driver:
    case = next(case for case in CASES if case.name == "goes_on_anew")
    return case.play(driver())


def test_a_thousand_runs_leave_no_more_state_than_one() -> None:
    played = submitted(counts, given=0, limits=Limits(steps_max=10))
    sizes: set[int] = set()
    while played.act():
        open_ = [key for key in played.state["conduct"].entries if key.startswith(b"J")]
        sizes.add(len(open_))
    assert max(sizes) <= 2
    assert played.result().result == RUNS
    assert played.result().steps == RUNS


def test_no_two_steps_of_a_task_have_one_key() -> None:
    played = submitted(counts, given=RUNS - 5)
    played.run()
    calls: list[CallTool] = played.records("tool-calls", "t")
    assert [call.idempotency_key for call in calls] == ["t/0", "t/1", "t/2", "t/3", "t/4"]


def test_an_outcome_of_an_earlier_run_changes_nothing() -> None:
    played = submitted(counts, given=RUNS - 3)
    played.run()
    whole = played.result()
    again = submitted(counts, given=RUNS - 3)
    while not any(run.run for run in runs(again)):
        again.act()
    for offset in range(len(again.logs["events"])):
        again.redeliver("events", offset)
    again.run()
    assert again.result() == whole
    assert again.reasons() == []


def test_what_is_open_ends_with_its_run() -> None:
    played = anew()
    closed: list[QuestionClosed] = [
        r for r in played.records("questions", "t") if r.kind == "question_closed"
    ]
    assert [each.reason for each in closed] == ["ended"] * 3
    children = {r.task for r in played.records("results") if r.task != "t"}
    cancelled = {r.task for r in played.records("events") if isinstance(r, CancelRequested)}
    assert len(children) == 3
    assert cancelled == children


def test_a_signal_that_comes_again_after_its_run_is_not_heard_twice() -> None:
    case = next(case for case in CASES if case.name == "goes_on_anew")
    assert case.play(driver(duplicated={"events"})).result() == anew().result()


def test_randomness_is_drawn_anew_in_each_run() -> None:
    @workflow
    async def draws(task: Task, drawn: list[str]) -> list[str]:
        await task.tool(same, 1)
        drawn = [*drawn, task.uuid()]
        if len(drawn) < 3:
            task.continue_as_new(drawn)
        return drawn

    played = submitted(draws, given=[])
    played.run()
    assert len(set(played.result().result)) == 3


def test_a_run_that_waits_for_nothing_is_refused() -> None:
    @workflow
    async def spins(task: Task) -> None:
        task.continue_as_new()

    played = submitted(spins)
    played.run()
    assert "before the workflow awaited a step" in played.bug().message


def test_an_input_that_the_workflow_can_not_take_is_told_where_it_is_given() -> None:
    @workflow
    async def wrong(task: Task, number: int) -> str:
        await task.tool(same, 1)
        try:
            task.continue_as_new("many")
        except BadInput as error:
            return str(error)

    played = submitted(wrong, given=1)
    played.run()
    assert str(played.result().result).startswith(
        "task.continue_as_new(…): workflow 'wrong' can't take this input: Input should"
    )


def test_it_goes_on_with_another_version() -> None:
    @workflow(name="grows")
    async def first(task: Task, given: str) -> str:
        await task.tool(same, 1)
        task.continue_as_new(given + " anew", version=2)

    @workflow(name="grows", version=2)
    async def second(task: Task, given: str) -> str:
        await task.tool(same, 2)
        return given

    played = Driver(App("again", workflows=[first, second], tools=[same]))
    played.produce("tasks", {"workflow": "grows", "version": 1, "input": "begun", "id": "t"})
    played.run()
    assert played.result().result == "begun anew"


def test_the_log_of_the_last_run_plays_again_and_is_told_alone() -> None:
    played = anew()
    status = [s for s in played.records("status", "t") if isinstance(s, Status)][-1]
    history = [r for r in played.logs["events"] if r.key == b"t" and r.offset >= status.offset]
    history += played.logs["results"]
    replay = Replay(played.app, [r for r in history if r.key == b"t"])
    assert all(replay)
    assert (replay.parked, replay.different_ending) == (None, None)
    timeline = Timeline("t")
    for topic in ("events", "tool-calls", "delays", "questions", "results"):
        for record in played.logs[topic]:
            if record.key == b"t":
                timeline.apply(record)
    assert timeline.run == 3
    assert [step.kind for step in timeline.in_order] == ["tool"]


def test_an_earlier_run_plays_again_and_is_told_up_to_how_the_next_begins() -> None:
    played = anew()
    history = [record for record in played.logs["events"] if record.key == b"t"]
    second = next(begun for begun in runs(played) if begun.run and begun.run.number == 2)
    replay = Replay(played.app, history, run=1)
    assert all(replay)
    assert (replay.parked, replay.different_ending) == (None, None)
    assert replay.execution is not None
    assert replay.execution.completion is not None
    assert replay.execution.completion.continue_as_new is not None
    timeline = Timeline("t", only=1)
    for record in history:
        timeline.apply(record)
    assert (timeline.run, timeline.state, timeline.next_input) == (1, "went on", second.input)
    assert timeline.ended_ms == second.at_ms


def test_runs_that_began_in_one_commit_play_again_each_for_itself() -> None:
    """Signals that are held end one run after the other at once: the log of the last one has them all."""

    @workflow
    async def account(task: Task, total: int) -> int:
        if total == 0:
            await task.tool(same, 0)
        amount = await task.signal("amount", int)
        return task.continue_as_new(total + amount) if amount else total

    played = submitted(account, given=0)
    for amount in (1, 2, 3):
        played.produce("signals", {"kind": "signal", "task": "t", "name": "amount", "value": amount})
    played.run()
    status = [s for s in played.records("status", "t") if isinstance(s, Status)][-1]
    history = [r for r in played.logs["events"] if r.key == b"t" and r.offset >= status.offset]
    assert [run.input for run in runs(played)] == [0, 1, 3, 6]
    assert begun_by(Replay(played.app, history)) == 6
    assert [begun_by(Replay(played.app, history, run=number)) for number in (1, 2)] == [1, 3]


def begun_by(replay: Replay) -> Any:
    """The input of the run that plays, and agrees with the log."""
    assert all(replay)
    assert (replay.parked, replay.different_ending) == (None, None)
    assert replay.execution is not None
    return replay.execution.submitted.input


def test_what_a_task_shows_stands_in_its_status_and_is_told_once() -> None:
    case = next(case for case in CASES if case.name == "shows")
    played = case.play(driver())
    views = [status.view for status in played.records("status", "t")]
    assert views == [{"done": 0, "of": 3}, {"done": 1, "of": 3}, {"done": 2, "of": 3}, [0, 1, 2]]
    timeline = Timeline("t")
    events = [timeline.apply(record) for record in played.logs["status"] * 2]
    assert [event.what for event in events if event] == ["view"] * 4


def test_a_view_that_is_too_long_is_cut_off() -> None:
    @workflow
    async def shows_all(task: Task) -> None:
        await asyncio.sleep(1)
        task.set_view("x" * 20_000)

    played = submitted(shows_all)
    played.run()
    assert played.records("status", "t")[-1].view == "x" * 4_000 + "… (16000 more characters)"


def test_a_task_that_goes_on_anew_is_rebuilt_from_its_run_alone() -> None:
    played = submitted(counts, given=RUNS - 5)
    while len(runs(played)) < 3:
        played.act()
    fresh = Conduct(played.app, played.state["conduct"], random.Random)
    live = fresh._find("t", played.now_ms)  # pyright: ignore[reportPrivateUsage]
    assert live is not None
    assert live.execution.submitted.run is not None
    fresh.close()
