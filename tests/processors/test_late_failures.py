"""Attempts that fail after their step was answered, as when a call is made twice: nothing is told of them."""

import pytest

from segue import App, Task, tool, workflow
from segue.processors.stages.put_aside import put_aside
from segue.streams.client.dead_letters import traceback_of, was_told
from segue.topics import codec
from segue.topics.flow import Received
from segue.topics.records import AttemptFailed, CallTool, Problem, StepFailed
from tests.driver import Driver


@tool(retries=0)
async def fetch() -> str:
    return "found"


@tool(retries=0)
async def breaks() -> str:
    return str(1 // 0)


@workflow
async def waits(task: Task) -> str:
    found = await task.tool(fetch)
    await task.signal("go")
    return found


@workflow
async def goes_on(task: Task) -> str:
    await task.gather(task.tool(breaks), failures="return")
    return "done"


APP = App("late", workflows=[waits, goes_on], tools=[fetch, breaks])


def fails_late(driver: Driver) -> None:
    [call] = driver.records("tool-calls")
    assert isinstance(call, CallTool)
    problem = Problem(type="Permanent", message="503", retryable=False)
    driver.produce(
        "failures", AttemptFailed(task="t", call=call, candidate="fetch", problem=problem, at_ms=1)
    )
    driver.run()
    assert isinstance(driver.records("events")[-1], StepFailed), "the failure was given up on"


@pytest.mark.parametrize("ended", [False, True])
def test_an_attempt_that_fails_after_its_step_was_answered_is_no_dead_letter(ended: bool) -> None:
    driver = Driver(APP)
    driver.submit("waits")
    driver.run()
    if not ended:
        fails_late(driver)
    driver.produce("signals", {"kind": "signal", "task": "t", "name": "go"})
    driver.run()
    if ended:
        fails_late(driver)
    assert (driver.result().result, driver.logs["dead-letters"]) == ("found", [])


def test_a_step_that_fails_for_good_is_one_dead_letter_however_often_it_is_told() -> None:
    driver = Driver(APP, duplicated=("events", "failures"))
    driver.submit("goes_on")
    driver.run()
    letter = only_letter(driver)
    event = StepFailed.model_validate_json(letter.value or b"")
    assert driver.reasons() == [f"breaks: {event.problem.message}"]
    assert was_told(letter)
    assert "1 // 0" in (traceback_of("events", letter.value) or "")


def test_a_step_of_a_record_that_was_put_aside_has_one_dead_letter() -> None:
    """The record's own: see `aside`."""
    driver = Driver(APP)
    driver.submit("goes_on")
    while not driver.logs["tool-calls"]:
        driver.act()
    record = driver.logs["tool-calls"].pop()
    for publish in put_aside(record, "tool", "it can't be read", driver.now_ms).publish:
        assert publish.value is not None
        value = publish.value if isinstance(publish.value, bytes) else codec.encode(publish.value)
        driver.put(publish.topic, publish.key.encode(), value, publish.headers)
    driver.run()
    assert (driver.result().result, driver.reasons()) == ("done", ["it can't be read"])


def only_letter(driver: Driver) -> Received:
    [letter] = driver.logs["dead-letters"]
    return letter
