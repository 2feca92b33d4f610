"""Each rehearsal is a test of durability: what a workflow takes from outside of its task is caught."""

import gc
import random
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from itertools import count
from typing import Any

import pytest

from segue import App, BadInput, Retryable, Task, Workflow, current_attempt, tool, workflow
from segue.testing import NotDurable, Rehearsal, crash_everywhere, in_turn
from tests.rehearsal.trips import RANKED, app, trip

ADVICE = "Segue replays a workflow over its log after it left memory, so it must request the same calls again"


@tool
async def note(what: Any) -> Any:
    return what


@workflow
async def goes_by_the_clock(task: Task) -> Any:
    return await task.tool(note, datetime.now(UTC).isoformat())


@workflow
async def goes_by_chance(task: Task) -> Any:
    await task.tool(note, 1)
    return await task.tool(note, random.random())


COUNTED: Iterator[int] = count()


@workflow
async def counts(task: Task) -> Any:
    if next(COUNTED) % 2:
        await task.sleep(10)
    return await task.tool(note, 1)


@workflow
async def returns_the_time(task: Task) -> float:
    await task.tool(note, 1)
    return time.time()


@workflow
async def asks_by_chance(task: Task) -> str:
    return await task.ask("ada", f"Is it {random.random()}?")


@workflow
async def sleeps_by_the_clock(task: Task) -> None:
    await task.sleep(time.time_ns() % 100_000)


@workflow
async def begins_by_chance(task: Task) -> None:
    await task.child("goes_by_the_clock", id=f"c-{random.random()}")


@workflow
async def prompts_by_the_clock(task: Task) -> str:
    return await task.model("rank", f"It is {datetime.now(UTC)}")


@workflow
async def shows_the_time(task: Task) -> None:
    task.set_view(time.time())
    await task.sleep(1)


class Address:
    """Hashed by its place in memory, as objects are."""

    def __init__(self, number: int) -> None:
        self.number = number


@workflow
async def goes_by_a_sets_order(task: Task) -> list[int]:
    return [await task.tool(note, each.number) for each in {Address(number) for number in range(50)}]


@workflow
async def fails_by_chance(task: Task) -> None:
    raise ValueError(str(random.random()))


UNSOUND: list[tuple[Workflow[Any, Any], str]] = [
    (
        goes_by_the_clock,
        "at step 0 it came to a call of tool 'note' with what=2.*, and played again to a call",
    ),
    (goes_by_chance, "at step 1 it came to a call of tool 'note' with what=0.*, and played again to a call"),
    (counts, "at step 0 it came to a call of tool 'note' .*, and played again to a timer"),
    (returns_the_time, "it came to the result 1.*, and played again to the result 1"),
    (
        asks_by_chance,
        "at step 0 it came to the question 'Is it .*' to 'ada'.*, and played again to the question",
    ),
    (sleeps_by_the_clock, "it came to a timer until 2026-.*, and played again to a timer until"),
    (begins_by_chance, "it came to task 'c-0.*' of workflow 'goes_by_the_clock'.*, and played again to task"),
    (prompts_by_the_clock, "at step 0 it came to a call of model 'rank' with It is .*, and played again to"),
    (shows_the_time, "it came to running, showing 1.*, and played again to running, showing 1"),
    (goes_by_a_sets_order, "at step 0 it came to a call of tool 'note' with what=|played again, step"),
    (fails_by_chance, "it came to its end, failed: .*0\\..*, and played again to its end, failed"),
]
UNSOUND_APP = app(*(run for run, _ in UNSOUND))
UNSOUND_APP.routes |= App("x", workflows=[], tools=[note]).routes


@pytest.mark.parametrize(("run", "message"), UNSOUND, ids=[run.name for run, _ in UNSOUND])
def test_what_differs_when_it_is_played_again_is_told(run: Workflow[Any, Any], message: str) -> None:
    def played() -> None:
        with Rehearsal(UNSOUND_APP, models={"rank": "yes"}) as play:
            play.start(run, id="t")
            play.run()

    with pytest.raises(NotDurable, match=f"task 't' is not deterministic: ({message}).*{ADVICE}"):
        played()


def test_what_was_asked_for_already_and_differs_later_is_told_by_its_step() -> None:
    """What changes between two events, not with each time that it is played."""
    today = ["monday"]

    @workflow
    async def goes_by_the_day(task: Task) -> None:
        await task.tool(note, today[0])
        await task.ask("ada", "Go on?")

    one = App("x", workflows=[goes_by_the_day], tools=[note])
    with Rehearsal(one) as play:
        play.start(goes_by_the_day, id="t")
        play.run()
        today[0] = "tuesday"
        message = (
            "played again, step 0 is on the task's log as 'note', but the workflow now asks there for tool"
        )
        with pytest.raises(NotDurable, match=message):
            play.answer("yes")


def test_what_the_task_gives_is_the_same_again() -> None:
    @workflow
    async def goes_by_the_task(task: Task) -> list[Any]:
        first = await task.tool(note, [task.random.random(), task.uuid(), task.now().isoformat()])
        await task.sleep(timedelta(days=1))
        return [first, task.random.random(), task.now().isoformat()]

    with Rehearsal(App("x", workflows=[goes_by_the_task], tools=[note])) as play:
        play.start(goes_by_the_task)
        assert len(play.result()) == 3


def test_the_coroutine_that_is_made_anew_is_let_go_at_once() -> None:
    left: list[str] = []

    @workflow
    async def cleans_up(task: Task) -> None:
        try:
            await task.ask("ada", "Go on?")
        finally:
            left.append(task.id)

    gc.disable()
    try:
        with Rehearsal(App("x", workflows=[cleans_up])) as play:
            play.start(cleans_up, id="t")
            assert left == ["t"]
    finally:
        gc.enable()


def test_one_that_remembers_plays_each_event_once() -> None:
    with Rehearsal(UNSOUND_APP, forgets=False) as play:
        play.start(goes_by_chance)
        assert 0 <= play.result() < 1


# ---------------------------------------------------------------- crashes


def picked(play: Rehearsal) -> None:
    play.start(trip, "quiet", id="t")
    play.answer(2)
    assert play.result() == "booked"


BOOKED = in_turn(TimeoutError(), Retryable("busy"), "booked")


def test_a_scenario_is_played_with_a_crash_in_each_act() -> None:
    with Rehearsal(app(), models={"rank": RANKED}, tools={"book": BOOKED}) as play:
        picked(play)
        acts = play.acts
    assert crash_everywhere(picked, app(), models={"rank": RANKED}, tools={"book": BOOKED}) == 2 * acts
    assert crash_everywhere(picked, app(), models={"rank": RANKED}, tools={"book": BOOKED}, acts=[3]) == 2


def test_a_copy_of_a_cancellation_that_comes_too_late_is_nobodys_fault() -> None:
    @workflow
    async def sleeps(task: Task) -> None:
        await task.sleep(10)

    def scenario(play: Rehearsal) -> None:
        play.start(sleeps, id="t")
        play.cancel()
        assert play.ended().outcome == "cancelled"

    assert crash_everywhere(scenario, App("x", workflows=[sleeps])) > 0


def test_a_tool_that_does_not_bear_a_second_call_is_caught() -> None:
    done: set[str] = set()

    @tool(retries=0)
    async def pay() -> str:
        if (key := current_attempt().idempotency_key) in done:
            raise ValueError("paid already")
        done.add(key)
        return "paid"

    @workflow
    async def pays(task: Task) -> str:
        return await task.tool(pay)

    def scenario(play: Rehearsal) -> None:
        done.clear()
        play.start(pays, id="t")

    message = (
        "with a crash in act \\d+ of \\d+, exactly once: "
        "task 't' came to failed: pay: .*paid already, and undisturbed to succeeded: \"paid\""
    )
    with pytest.raises(NotDurable, match=message):
        crash_everywhere(scenario, App("x", workflows=[pays], tools=[pay]))


def test_a_workflow_that_only_remembers_is_caught() -> None:
    """Its state is outside of it: what the process knew is gone with it."""
    seen: list[str] = []

    @workflow
    async def remembers(task: Task) -> int:
        if not seen:
            seen.append(await task.tool(note, "a"))
        return len(seen)

    def scenario(play: Rehearsal) -> None:
        seen.clear()
        play.start(remembers, id="t")
        play.run()

    with pytest.raises(NotDurable):
        crash_everywhere(scenario, App("x", workflows=[remembers], tools=[note]))


def test_what_the_scenario_itself_raises_is_told_the_act() -> None:
    called: list[int] = []

    def scenario(play: Rehearsal) -> None:
        called.append(1)
        play.start(trip, "quiet", id="t")
        assert len(called) < 3

    with pytest.raises(AssertionError) as raised:
        crash_everywhere(scenario, app(), models={"rank": RANKED})
    assert [note.split(" of ")[0] for note in raised.value.__notes__] == ["with a crash in act 0"]


# ---------------------------------------------------------------- in another process


@workflow
async def goes_by_the_order_of_names(task: Task) -> list[str]:
    names = {f"name-{number}" for number in range(20)}
    return [await task.tool(note, name) for name in names]


@workflow
async def returns_a_name(task: Task) -> str:
    await task.tool(note, 1)
    return next(iter({f"name-{number}" for number in range(20)}))


@workflow
async def sorts_names(task: Task) -> list[Any]:
    names = {f"name-{number}" for number in range(20)}
    said = await task.ask("ada", "Go on?")
    return [await task.tool(note, name) for name in sorted(names)] + [said]


NAMING = App("naming", workflows=[goes_by_the_order_of_names, returns_a_name, sorts_names], tools=[note])


@pytest.mark.parametrize(
    ("run", "message"),
    [
        (
            goes_by_the_order_of_names,
            "at step 0 it came to a call of tool 'note' with what=name-",
        ),
        (
            returns_a_name,
            "in another process the log ends with succeeded: 'name-.*', this run with succeeded: 'name-",
        ),
    ],
)
def test_the_order_of_a_set_of_strings_is_caught_in_another_process(
    run: Workflow[Any, Any], message: str
) -> None:
    with Rehearsal(NAMING) as play:
        play.start(run, id="t")
        assert play.result()
        with pytest.raises(NotDurable, match=f"task 't' is not deterministic: {message}"):
            play.replay_elsewhere()


def test_what_is_the_same_elsewhere_passes() -> None:
    with Rehearsal(NAMING) as play:
        play.start(sorts_names, id="t")
        play.answer("yes")
        play.replay_elsewhere()


def test_an_app_that_can_not_be_imported_elsewhere_is_told() -> None:
    with Rehearsal(App("hidden", workflows=[sorts_names], tools=[note])) as play:
        play.start(sorts_names)
        with pytest.raises(BadInput, match="app 'hidden' must be a module's variable"):
            play.replay_elsewhere()
