"""Tasks that have ended leave: a year of them leaves what two weeks do."""

import gc

import pytest

from segue import App, Task, tool, workflow
from segue.processors.tasks import tombstones as marks
from segue.topics.contracts import DAY_MS
from segue.topics.records import Status
from tests.driver import Driver, watched_executions

DAYS_MAX = 15
"""Marks are of whole weeks, and go when the next one is over; what is due is done with the next record."""


@workflow
async def naps(task: Task, days: float) -> float:
    await task.sleep(days * 86_400)
    return days


@tool
async def step(n: int) -> int:
    return n


@workflow
async def walks(task: Task, steps: int) -> int:
    for n in range(steps):
        await task.tool(step, n)
    return steps


APP = App("x", workflows=[naps, walks], tools=[step])


def listed(driver: Driver) -> dict[str, str]:
    """The state of each task on the topic `status`, compacted."""
    found: dict[str, str] = {}
    for record in driver.logs["status"]:
        task = (record.key or b"").decode()
        if record.value is None:
            found.pop(task)
        else:
            found[task] = Status.model_validate_json(record.value).state
    return found


def lived(driver: Driver, days: int, each_day: int = 3) -> None:
    """So many days, with that many tasks on each that take an hour, and one that is refused."""
    for _ in range(days):
        day = driver.now_ms // DAY_MS
        for number in range(each_day):
            driver.submit("naps", 1 / 24, f"{day}-{number}")
        driver.submit("unknown", None, f"{day}-refused")
        driver.run(driver.now_ms + DAY_MS)


def test_a_year_of_tasks_leaves_no_more_than_two_weeks_do() -> None:
    driver = Driver(APP)
    driver.submit("naps", 400, "long")
    most = 0
    for _ in range(73):
        lived(driver, 5)
        most = max(most, len(driver.state["conduct"].entries))
    marks = 4 * DAYS_MAX
    journal = 1
    assert most <= marks + journal
    assert len(listed(driver)) <= marks + journal
    assert len(driver.state["delay"].entries) == 1
    assert listed(driver)["long"] == "running"
    driver.run()
    assert driver.result("long").outcome == "succeeded"


def test_a_status_stays_for_a_week_after_the_end() -> None:
    driver = Driver(APP)
    driver.submit("naps", 1 / 24, "t")
    driver.run()
    lived(driver, 7, each_day=0)
    assert listed(driver)["t"] == "succeeded"
    lived(driver, 8, each_day=0)
    assert "t" not in listed(driver)


def test_the_status_of_a_task_whose_id_is_used_again_is_not_forgotten() -> None:
    driver = Driver(APP)
    driver.submit("unknown", None, "t")
    driver.submit("naps", 30, "t")
    driver.run(driver.now_ms + 20 * DAY_MS)
    assert listed(driver)["t"] == "running"


def test_more_marks_than_go_at_once_all_go() -> None:
    driver = Driver(APP)
    for number in range(2 * marks.PURGED_AT_ONCE_MAX + 1):
        driver.submit("unknown", None, f"{number}")
    driver.run()
    driver.run(driver.now_ms + DAYS_MAX * DAY_MS)
    driver.run(driver.now_ms)
    assert (driver.state["conduct"].entries, listed(driver)) == ({}, {})


def test_the_memory_of_a_task_that_ended_is_free_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Python looks for garbage in cycles seldom: what waits for that makes a worker grow with each burst."""
    played = watched_executions(monkeypatch)
    driver = Driver(APP)
    gc.disable()
    try:
        for number in range(5):
            driver.submit("walks", 3, f"t{number}")
        driver.run()
        assert len(played) == 5
        assert [each for each in played if each() is not None] == []
    finally:
        gc.enable()
