"""What a test sees of a rehearsal: tasks that are started, answered, waited for and looked at."""

import asyncio
import gc
import sys
import threading
from contextvars import ContextVar
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from pydantic_ai.messages import ModelResponse, TextPart
from pydantic_ai.usage import RequestUsage

from segue import App, BadInput, Budget, Permanent, StepError, Task, UnknownName, tool, workflow
from segue.testing import Call, NoResult, Rehearsal, in_turn
from tests.rehearsal.trips import RANKED, app, book, trip

BEGINS = datetime(2026, 9, 21, 14, 13, 20, tzinfo=UTC)
MODELS = {"rank": RANKED}


@workflow
async def sleeps(task: Task, days: float) -> datetime:
    await task.sleep(timedelta(days=days))
    return task.now()


@workflow
async def listens(task: Task) -> list[int]:
    heard: list[int] = []
    try:
        async with asyncio.timeout(3600):
            while True:
                heard.append(await task.signal("number", int))
    except TimeoutError:
        return heard


@workflow
async def asks(task: Task) -> int:
    return await task.ask("ada", "How many?", answer=int)


@workflow
async def for_ever(task: Task) -> None:
    while True:
        await task.sleep(timedelta(hours=1))


@workflow
async def parent(task: Task) -> int:
    return await task.child(asks)


@workflow
async def waits_for_nothing(task: Task) -> None:
    raise ValueError("no such place")


@workflow
async def is_broken(task: Task) -> str:
    return {"place": "Faro"}["room"]


APP = app(sleeps, listens, asks, for_ever, parent, waits_for_nothing, is_broken)


# ---------------------------------------------------------------- from the start to the result


def test_a_task_is_played_from_its_start_to_its_result() -> None:
    with Rehearsal(APP, models=MODELS) as play:
        assert play.start(trip, "a quiet one", id="t") == "t"
        assert play.question().text == "Which one?"
        play.answer(2)
        assert play.result() == "h-2 as t/6"
        assert play.ended().steps == 7
        assert play.status().state == "succeeded"
        assert play.dead_letters() == []


def test_calls_say_what_was_called_with_which_arguments_at_which_attempt() -> None:
    failing = in_turn(TimeoutError("busy"), "booked")
    with Rehearsal(APP, models=MODELS, tools={"book": failing}) as play:
        play.start("trip", "a quiet one", id="t")
        play.answer("The h-1")
        assert play.result() == "booked"
        given = {"hotel": {"id": "h-1", "price": 100}}
        assert play.calls("book") == [Call("t", 6, "book", "book", given, n, "t/6") for n in (1, 2)]
        assert [call.given for call in play.calls("lab:large")] == ["a quiet one"]
        assert [call.name for call in play.calls(task="t")] == [
            "rank",
            "free",
            "free",
            "free",
            "book",
            "book",
        ]
        assert play.calls(task="other") == []


def test_a_result_is_of_the_type_that_the_workflow_returns() -> None:
    with Rehearsal(APP) as play:
        play.start(sleeps, 1.5)
        assert play.result() == BEGINS + timedelta(days=1.5)


def test_tasks_are_told_apart_by_their_names() -> None:
    with Rehearsal(APP) as play:
        assert [play.start(asks), play.start(asks)] == ["asks-1", "asks-2"]
        with pytest.raises(BadInput, match="which task\\? Name it; those that were started: asks-1, asks-2"):
            play.answer(1)
        play.answer(1, task="asks-2")
        assert play.result("asks-2") == 1
        assert [question.task for question in play.questions()] == ["asks-1"]
        with pytest.raises(UnknownName, match="there is no task 'x': choose one of asks-1, asks-2"):
            play.status("x")


def test_a_task_that_is_started_twice_is_one() -> None:
    with Rehearsal(APP) as play:
        play.start(asks, id="t")
        play.start(asks, id="t")
        play.answer(1)
        assert play.result() == 1
        play.start(asks, id="other")
        with pytest.raises(BadInput, match=r"those that were started: t, other$"):
            play.result()


def test_children_are_played_too() -> None:
    with Rehearsal(APP) as play:
        play.start(parent, id="p")
        [asked] = play.questions()
        play.answer(7, task=asked.task)
        assert play.result("p") == 7
        assert [status.task for status in play.tasks()] == ["p", "p/0"]


# ---------------------------------------------------------------- time


def test_time_leaps_over_what_tasks_sleep_and_begins_when_it_is_told() -> None:
    begins = datetime(2030, 1, 1, tzinfo=UTC)
    with Rehearsal(APP, begins=begins) as play:
        play.start(sleeps, 365)
        assert play.result() == datetime(2031, 1, 1, tzinfo=UTC)
        assert play.now == datetime(2031, 1, 1, tzinfo=UTC)
    with pytest.raises(BadInput, match="begins=2030-01-01T00:00:00 has no time zone"):
        Rehearsal(APP, begins=datetime(2030, 1, 1))  # noqa: DTZ001


def test_time_stands_while_a_person_is_waited_for_and_passes_by_advance() -> None:
    with Rehearsal(APP, models=MODELS) as play:
        play.start(trip, "a quiet one")
        play.run()
        assert play.now == BEGINS
        play.advance(timedelta(days=1, hours=23))
        assert play.question().closes_at_ms == (BEGINS + timedelta(days=2)).timestamp() * 1000
        play.advance(timedelta(hours=1))
        assert play.result() is None


def test_time_stands_while_a_signal_is_waited_for() -> None:
    with Rehearsal(APP) as play:
        play.start(listens)
        play.signal("number", 1)
        play.run()
        play.signal("number", 2)
        play.advance(timedelta(hours=1))
        assert play.result() == [1, 2]


def test_retries_come_while_a_person_is_waited_for() -> None:
    @workflow
    async def both(task: Task) -> Any:
        return await task.gather(task.ask("ada", "Which?"), task.tool(book, RANKED[0]))

    with Rehearsal(app(both), tools={"book": in_turn(TimeoutError(), "booked")}) as play:
        play.start(both)
        play.run()
        assert len(play.calls("book")) == 2


def test_a_task_that_never_stops_is_told_and_advances() -> None:
    with Rehearsal(APP, forgets=False) as play:
        play.start(for_ever)
        play.advance(timedelta(hours=2.5))
        assert play.now == BEGINS + timedelta(hours=2.5)
        with pytest.raises(
            BadInput, match=r"the workflow does not end, and the time is 2026-11-02 now: .* play.advance"
        ):
            play.run()


# ---------------------------------------------------------------- what is refused


def test_what_can_not_start_is_refused() -> None:
    with Rehearsal(APP) as play:
        with pytest.raises(BadInput, match=r"this app has no workflow 'tripp'; it has: asks, .*trip"):
            play.start("tripp")
        with pytest.raises(BadInput, match="the input does not fit workflow 'sleeps'"):
            play.start(sleeps, "long")
        with pytest.raises(BadInput, match="id: "):
            play.start(asks, id="")
        assert play.tasks() == [] or all(status.state == "rejected" for status in play.tasks())


def test_answers_are_refused_as_the_product_refuses_them() -> None:
    with Rehearsal(APP, models=MODELS) as play:
        play.start(trip, "a quiet one", id="t")
        play.start(asks, id="a")
        with pytest.raises(BadInput, match='"h-9" is not one of the options: 1 The h-1; 2 The h-2'):
            play.answer("h-9", task="t")
        with pytest.raises(BadInput, match=r"the answer does not fit the question: .*'many'"):
            play.answer("many", task="a")
        play.answer({"id": "h-2", "price": 100}, task="t")
        assert play.result("t") == "h-2 as t/6"
        with pytest.raises(BadInput, match="task 't' has no open question: its state is succeeded"):
            play.answer(1, task="t")


def test_an_option_is_answered_by_its_number_or_label() -> None:
    @workflow
    async def pays(task: Task) -> bool:
        return await task.ask("boss", "Pay a million?", options={"no": False, "yes": True})

    with Rehearsal(app(pays)) as play:
        for given, paid in ((1, False), (2, True), ("yes", True), (False, False)):
            task = play.start(pays)
            play.answer(given, task=task)
            assert play.result(task) is paid


def test_signals_and_cancellations_are_refused_with_the_reason() -> None:
    with Rehearsal(APP) as play:
        play.start(listens, id="l")
        play.run()
        with pytest.raises(BadInput, match="signal 'number' does not fit what the task waits for"):
            play.signal("number", "many")
        [letter] = play.dead_letters()
        assert (letter.topic, '"many"' in letter.value) == ("events", True)
        play.cancel()
        with pytest.raises(NoResult, match="task 'l' was cancelled: cancelled on request"):
            play.result()
        with pytest.raises(BadInput, match="task 'l' has ended"):
            play.cancel()


# ---------------------------------------------------------------- what has no result says so


def test_a_task_that_failed_raises_with_its_problem() -> None:
    with Rehearsal(APP) as play:
        play.start(waits_for_nothing, id="t")
        with pytest.raises(NoResult, match="no such place"):
            play.result()


def test_a_failed_task_can_be_looked_at() -> None:
    with Rehearsal(APP, models=MODELS, tools={"book": Permanent("gone")}) as play:
        play.start(trip, "a quiet one", id="t")
        play.answer(1)
        with pytest.raises(NoResult, match="task 't' failed: book: gone"):
            play.result()
        problem = play.ended().problem
        assert problem is not None
        assert problem.message == "book: gone"


def test_a_task_that_waits_says_for_whom() -> None:
    with Rehearsal(APP, models=MODELS) as play:
        play.start(trip, "a quiet one", id="t")
        play.start(listens, id="l")
        with pytest.raises(NoResult, match=r"task 't' waits for an answer, .*: 'Which one\?' to 'ada'"):
            play.result("t")
        with pytest.raises(NoResult, match="task 'l' is running, and waits for what does not come by itself"):
            play.ended("l")


def test_a_task_that_other_code_parks_says_so_and_goes_on_by_its_own() -> None:
    @workflow(name="asks")
    async def asks_a_tool(task: Task) -> Any:
        return await task.tool(book, RANKED[0])

    @workflow(name="asks")
    async def asks_twice(task: Task) -> list[int]:
        return [await task.ask("ada", "How many?", answer=int), await task.ask("ada", "Sure?", answer=int)]

    with Rehearsal(app(asks_twice)) as play:
        play.start("asks", id="t")
        play.answer(3)
        play.restart(app(asks_a_tool))
        play.answer(4)
        with pytest.raises(NoResult, match=r"task 't' is parked: .*deploy the code"):
            play.result()
        play.restart(app(asks_twice))
        assert play.result() == [3, 4]


def test_a_rehearsal_is_held_in_a_with_statement() -> None:
    with pytest.raises(BadInput, match="within `with Rehearsal"):
        Rehearsal(APP).start(asks)


# ---------------------------------------------------------------- in any test, and nothing is left


async def test_it_is_held_in_an_async_test() -> None:
    with Rehearsal(APP, models=MODELS) as play:
        play.start(trip, "a quiet one", id="t")
        play.answer(1)
        assert play.result() == "h-1 as t/6"
        await asyncio.sleep(0)


async def test_played_in_a_thread_what_lives_in_the_tests_own_loop_goes_on() -> None:
    loop = asyncio.get_running_loop()

    async def served() -> str:
        return "from the test's loop"

    async def asked(hotel: Any) -> str:
        return await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(served(), loop))

    with Rehearsal(APP, models=MODELS, tools={"book": asked}) as play:
        play.start(trip, "a quiet one", id="t")
        play.answer(1)
        assert await asyncio.to_thread(play.result) == "from the test's loop"


WHERE: ContextVar[str] = ContextVar("where", default="nowhere")


def test_calls_see_the_tests_context() -> None:
    def noted(hotel_id: str) -> bool:
        seen.append(WHERE.get())
        return True

    seen: list[str] = []
    with Rehearsal(APP, models=MODELS, tools={"free": noted}) as play:
        play.start(trip, "a quiet one")
        token = WHERE.set("in the test")
        play.run()
        WHERE.reset(token)
    assert seen == ["in the test"] * 3


def test_the_environment_is_not_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SEGUE_PARTITIONS", "many")
    with Rehearsal(APP, models=MODELS) as play:
        play.start(trip, "a quiet one")
        assert play.questions()


def test_what_a_stand_in_says_that_it_consumed_counts() -> None:
    """Its answer is refused, and the next attempt is one too many."""
    dear = TextPart('{"answer": [{"id": "h-1", "price": 900}]}')
    answer = ModelResponse(parts=[dear], usage=RequestUsage(input_tokens=10))
    with Rehearsal(APP, models={"rank": answer}) as play:
        play.start(trip, "a quiet one", budget=Budget(tokens=5))
        with pytest.raises(NoResult, match=r"failed: .*10 .*tokens"):
            play.result()
        assert len(play.calls("rank")) == 1


def test_what_tools_keep_in_their_loop_lasts_as_long_as_the_rehearsal() -> None:
    loops: set[int] = set()

    async def noted(hotel_id: str) -> bool:
        loops.add(id(asyncio.get_running_loop()))
        return True

    with Rehearsal(APP, models=MODELS, tools={"free": noted}) as play:
        play.start(trip, "a quiet one")
        play.run()
    assert len(loops) == 1


def test_nothing_is_left_of_it() -> None:
    """A resource that nobody closed is an error of the test."""
    before = threading.active_count()
    with Rehearsal(APP, models=MODELS) as play:
        play.start(trip, "a quiet one")
        play.run()
        play.restart()
    gc.collect()
    assert threading.active_count() == before


def test_a_large_result_is_kept_as_ever() -> None:
    @tool
    async def large() -> str:
        return "x" * 2_000_000

    @tool
    async def measure(text: str) -> int:
        return len(text)

    @workflow
    async def passes_on(task: Task) -> int:
        return await task.tool(measure, await task.tool(large))

    with Rehearsal(App("x", workflows=[passes_on], tools=[large, measure])) as play:
        play.start(passes_on)
        assert play.result() == 2_000_000


@pytest.mark.parametrize("look", ["result", "question"])
def test_a_bug_of_the_workflow_is_shown_whatever_is_looked_for(look: str) -> None:
    with Rehearsal(APP) as play:
        play.start(is_broken, id="t")
        with pytest.raises(NoResult, match=r"task 't' is parked: KeyError: 'room'") as told:
            getattr(play, look)()
    assert 'return {"place": "Faro"}["room"]' in str(told.value)


async def leave() -> None:
    sys.exit("in a task of its own")


@tool(retries=0)
async def exits() -> None:
    await asyncio.gather(leave(), asyncio.sleep(0.01))


@tool
async def goes_on() -> str:
    return "on"


def test_a_task_of_a_tool_that_exits_ends_its_step_alone() -> None:
    @workflow
    async def run(task: Task) -> str:
        try:
            await task.tool("exits")
        except StepError as error:
            after: str = await task.tool("goes_on")
            return f"{error.problem.message}: {after}"
        return "nothing"

    with Rehearsal(App("x", workflows=[run], tools=[exits, goes_on])) as play:
        assert play.result(play.start(run)) == "SystemExit: in a task of its own: on"
