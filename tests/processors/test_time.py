"""Nothing comes early, by less than a millisecond even; and no time at all is a time too."""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import anyio
import pytest
from hypothesis import given
from hypothesis import strategies as st

from segue import App, StepError, Task, Workflow, tool, workflow
from segue.processors.durations import EPOCH, rounded_up_ms
from segue.processors.workflow.context import CURRENT_CONTEXT
from segue.topics.records import Delay, Question, Result
from tests.driver import START_MS, Driver


@tool
async def note(text: str) -> str:
    return text


def played(run: Workflow[Any, Any], value: Any = None) -> Driver:
    driver = Driver(App("x", workflows=[run], tools=[note]))
    driver.submit(run.name, value)
    driver.run()
    return driver


BEGAN = EPOCH + timedelta(milliseconds=START_MS)

LATER = st.timedeltas(timedelta(microseconds=1), timedelta(days=4_000))


@given(LATER)
def test_a_duration_is_rounded_up_to_the_millisecond(duration: timedelta) -> None:
    ms = rounded_up_ms(duration)
    assert timedelta(milliseconds=ms - 1) < duration <= timedelta(milliseconds=ms)
    assert ms == rounded_up_ms(duration.total_seconds())


@pytest.mark.parametrize("us", [1, 400, 499, 500, 501, 999, 1_000, 1_001, 100_000, 123_456_789_012_345])
def test_who_sleeps_until_a_time_wakes_once_at_that_time_or_later(us: int) -> None:
    when = BEGAN + timedelta(microseconds=us)

    @workflow
    async def run(task: Task) -> int:
        slept = 0
        while task.now() < when:
            await task.sleep_until(when)
            slept += 1
        return slept

    @workflow
    async def by_asyncio(task: Task) -> int:
        slept = 0
        while task.now() < when:
            await asyncio.sleep((when - task.now()).total_seconds())
            slept += 1
        return slept

    for each in (run, by_asyncio):
        assert played(each).result().result == 1


@pytest.mark.parametrize("s", [0.1, 0.2, 0.7, 1e-4, 5.0001, 1.0005, 86_400.0000004, 1e-7])
def test_a_timer_finds_that_it_is_due_by_the_loops_clock(s: float) -> None:
    """anyio looks at the clock when its timer fires, and sets another one if it is too early."""

    @workflow
    async def by_anyio(task: Task) -> int:
        with anyio.move_on_after(s):
            await anyio.Event().wait()
        return len([step for step in CURRENT_CONTEXT.get().steps if step.kind == "timer"])

    @workflow
    async def by_clock(task: Task) -> int:
        loop, slept = asyncio.get_running_loop(), 0
        until = loop.time() + s
        while loop.time() < until:
            await asyncio.sleep(until - loop.time())
            slept += 1
        return slept

    assert played(by_anyio).result().result <= 2
    assert played(by_clock).result().result <= 1


def test_now_is_exact_to_the_millisecond_in_any_year() -> None:
    driver = Driver(App("x", workflows=[(run := _now)]))
    driver.now_ms = 253_402_300_799_998
    driver.submit(run.name)
    driver.run()
    assert driver.result().result == "9999-12-31T23:59:59.998000+00:00"


@workflow
async def _now(task: Task) -> str:
    return task.now().isoformat()


# ---------------------------------------------------------------- zero


def test_a_question_that_is_open_for_no_time_closes_at_once() -> None:
    @workflow
    async def run(task: Task) -> list[Any]:
        answers: list[Any] = [
            await task.ask("ada", "now?", timeout=timedelta(0), default=otherwise)
            for otherwise in (0, "", False)
        ]
        try:
            await task.ask("ada", "now?", timeout=timedelta(0))
        except StepError as error:
            answers.append(error.problem.type)
        answers.append(await task.ask("ada", "soon?", timeout=timedelta(microseconds=1), default=None))
        return answers

    driver = played(run)
    assert driver.result().result == [0, "", False, "Unanswered", None]
    questions = [each for each in driver.records("questions", "t") if isinstance(each, Question)]
    closes = [each.closes_at_ms for each in questions]
    assert closes == [START_MS] * 4 + [START_MS + 1]
    assert driver.now_ms == START_MS + 1


def test_a_question_closes_at_its_time_and_no_earlier() -> None:
    @workflow
    async def run(task: Task) -> Any:
        return await task.ask("ada", "?", timeout=timedelta(microseconds=1_000_001), default="late")

    driver = played(run)
    [delay] = driver.records("delays", "t")
    [question, *_] = driver.records("questions", "t")
    assert (question.closes_at_ms, delay.due_ms) == (START_MS + 1001, START_MS + 1001)


def test_time_that_is_less_than_none_is_refused() -> None:
    @workflow
    async def run(task: Task) -> Any:
        return await task.ask("ada", "?", timeout=timedelta(days=-1), default="late")

    bug = played(run).bug()
    assert (bug.type, bug.message) == (
        "BadInput",
        "ask('ada'): timeout=-1 day, 0:00:00 is negative: "
        "give timedelta(0) for a question that closes at once",
    )


@pytest.mark.parametrize("s", [0, 0.0, -1])
def test_no_time_is_slept_without_a_timer(s: float) -> None:
    @workflow
    async def run(task: Task) -> str:
        await task.sleep(s)
        await task.sleep(timedelta(seconds=s))
        await task.sleep_until(task.now())
        try:
            async with asyncio.timeout(s):
                await task.tool(note, "a")
        except TimeoutError:
            return "timeout"
        return "in time"

    driver = played(run)
    assert driver.result().result == "timeout"
    delays: list[Delay] = driver.records("delays", "t")
    assert delays == []


def test_values_that_are_nothing_travel() -> None:
    @workflow
    async def run(task: Task, given: int) -> list[Any]:
        picked = await task.ask("ada", "?", options={"none": 0, "no": False, "": ""})
        told = await task.signal("go", int)
        return [given, picked, told, await task.tool(note, "")]

    driver = Driver(App("x", workflows=[run], tools=[note]))
    driver.submit(run.name, 0)
    driver.run()
    for about in ({"kind": "answer", "value": 0}, {"kind": "signal", "name": "go", "value": 0}):
        driver.produce("signals", {"task": "t", **about})
        driver.run()
    result: Result = driver.result()
    assert result.result == [0, 0, 0, ""]


def test_an_end_in_the_far_future_has_a_date() -> None:
    assert datetime(9999, 12, 31, 23, 59, 59, 998_000, UTC) == EPOCH + timedelta(
        milliseconds=253_402_300_799_998
    )


def test_the_longest_duration_is_one() -> None:
    assert rounded_up_ms(timedelta.max) == 86_400 * 1_000 * 10**9
