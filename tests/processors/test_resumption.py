"""A worker that takes a partition says where its open tasks resume."""

import asyncio
import logging
from datetime import timedelta
from typing import Any

import pytest

from segue import App, Task, tool, workflow
from segue.processors.tasks import resumption
from segue.processors.tasks.resumption import Resumed
from segue.streams.engine.resumption import log_resumed, report_resumed
from segue.topics.flow import Stage
from tests.driver import Driver


@tool
async def double(number: int) -> int:
    return 2 * number


@workflow
async def doubled(task: Task, numbers: list[int]) -> int:
    """One call after the other, then a question with a deadline, a timer and a signal."""
    for number in numbers:
        await task.tool(double, number=number)
    await task.ask("owner", "Go on?", timeout=timedelta(hours=1), default=None)
    await asyncio.sleep(60)
    await task.signal("go")
    return len(numbers)


@workflow
async def broken(task: Task) -> None:
    raise KeyError("broken")


@workflow
async def both(task: Task) -> list[int]:
    return list(await task.gather(task.tool(double, number=1), task.tool(double, number=2)))


APP = App("x", workflows=[doubled, broken, both], tools=[double])


def resumed(driver: Driver) -> list[Resumed]:
    """What a worker reports that takes the partition now."""
    found: list[Resumed] = []
    report_resumed(found.append, driver.conduct(), driver.now_ms)
    return found


def test_a_task_resumes_at_its_first_step_without_an_outcome() -> None:
    driver = Driver(APP)
    driver.submit("doubled", [1, 2])
    driver.hear()
    seen: list[Any] = []
    while driver.act():
        if not seen or seen[-1] != resumed(driver):
            seen.append(resumed(driver))
    steps = [(0, "tool double"), (1, "tool double"), (2, "ask owner")]
    assert [each for each in seen if each] == [[Resumed("t", "doubled", *step)] for step in steps]


def test_the_deadline_of_a_question_that_was_answered_is_no_step_to_resume_at() -> None:
    driver = Driver(APP)
    driver.submit("doubled", [])
    while driver.act():
        pass
    driver.produce("signals", {"kind": "answer", "task": "t", "step": 0, "value": "yes", "id": "1"})
    while driver.act():
        pass
    assert resumed(driver) == [Resumed("t", "doubled", 2, "timer")]
    driver.run(driver.now_ms + 120_000)
    assert resumed(driver) == [Resumed("t", "doubled", 3, "signal go")]


def test_of_steps_at_once_the_first_is_told_that_is_open() -> None:
    driver = Driver(APP)
    driver.submit("both")
    driver.hear()
    assert resumed(driver) == [Resumed("t", "both", 0, "tool double")]


def test_nothing_is_told_of_tasks_that_ended_or_are_parked_or_wait_for_their_turn() -> None:
    driver = Driver(APP)
    driver.submit("both", None, "ended")
    driver.submit("broken", None, "parked")
    driver.run()
    assert resumed(driver) == []


def test_thousands_of_open_tasks_are_not_all_rebuilt(monkeypatch: pytest.MonkeyPatch) -> None:
    driver = Driver(APP)
    for number in range(20):
        driver.submit("both", None, f"t{number:02}")
    driver.hear()
    assert [each.task for each in resumed(driver)] == ["t00", "t01", "t02", "t03", "t04"]
    monkeypatch.setattr(resumption, "ENTRIES_MAX", 3)
    assert [each.task for each in resumed(driver)] == ["t00", "t01", "t02"]


def test_a_log_that_is_too_long_is_not_played_for_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resumption, "ENTRIES_MAX", 3)
    driver = Driver(APP)
    driver.submit("doubled", [1, 2, 3, 4], "long")
    while driver.act():
        pass
    assert resumed(driver) == []


def test_what_was_looked_at_goes_on_as_without_a_look() -> None:
    looked, plain = Driver(APP), Driver(APP)
    for driver in (looked, plain):
        driver.submit("both")
        driver.hear()
        driver.restart()
    conduct: Any = looked
    assert list(conduct._conduct.resumed(looked.now_ms)) == [Resumed("t", "both", 0, "tool double")]
    for driver in (looked, plain):
        driver.run()
    assert looked.written() == plain.written()


class Failing:
    """A stage that can't tell."""

    def resumed(self, now_ms: int) -> list[Resumed]:
        raise ValueError("a bug")


def test_a_failure_is_logged_and_the_partition_is_served(caplog: pytest.LogCaptureFixture) -> None:
    stage: Any = Failing()
    given: Stage = stage
    report_resumed(log_resumed, given, 0)
    assert "reporting where a task resumes failed" in caplog.text
    assert "ValueError: a bug" in caplog.text


def test_a_worker_logs_it(caplog: pytest.LogCaptureFixture) -> None:
    driver = Driver(APP)
    driver.submit("both", None, "a")
    driver.hear()
    with caplog.at_level(logging.INFO):
        report_resumed(log_resumed, driver.conduct(), driver.now_ms)
    assert caplog.messages == ["task a resumed at step 0: tool double"]
