"""What open tasks wait for is asked for again when records were lost before anybody read them."""

import asyncio
from typing import Any

import pytest

from segue import App, Task, tool, workflow
from segue.topics.records import RecordsLost
from tests.driver import Driver

APPROVAL_S = 60.0


@tool
async def double(number: int) -> int:
    return 2 * number


@workflow
async def doubled(task: Task, numbers: list[int]) -> list[int]:
    """Two calls at once, then a sleep, then one more call."""
    found = await asyncio.gather(*(task.tool(double, number=number) for number in numbers))
    await task.sleep(APPROVAL_S)
    return [*found, await task.tool(double, number=sum(found))]


@workflow
async def waits(task: Task) -> Any:
    return await task.signal("go")


APP = App("x", workflows=[doubled, waits], tools=[double])


def lose(driver: Driver, topic: str) -> None:
    """All that stands on it and was not read."""
    driver.offsets[topic] = len(driver.logs[topic])


def tell(driver: Driver, topic: str, before_ms: int | None = None) -> None:
    at_ms = driver.now_ms
    lost = RecordsLost(topic=topic, before_ms=at_ms if before_ms is None else before_ms, at_ms=at_ms)
    driver.produce("events", lost.model_dump(), key="")


def begun(*tasks: str) -> Driver:
    """Tasks whose first calls were asked for, and not made."""
    driver = Driver(APP)
    for task in tasks:
        driver.submit("doubled", [1, 2], task)
    driver.submit("waits", None, "other")
    driver.hear()
    return driver


@pytest.mark.parametrize("topic", ["tool-calls", "failures", "checks", "events"])
def test_calls_without_an_outcome_are_asked_for_again(topic: str) -> None:
    driver = begun("a", "b")
    first = driver.records("tool-calls")
    lose(driver, "tool-calls")
    driver.run()
    assert not driver.records("results")
    tell(driver, topic)
    driver.hear()
    assert driver.records("tool-calls")[len(first) :] == first
    driver.run()
    assert [driver.result(task).result for task in "ab"] == [[2, 4, 12]] * 2
    assert driver.reasons() == []


def test_only_what_has_no_outcome_is_asked_for_again() -> None:
    driver = begun("a")
    driver.run(until_ms=driver.now_ms)
    asked = driver.records("tool-calls")
    tell(driver, "tool-calls")
    driver.hear()
    assert driver.records("tool-calls") == asked


def test_what_was_asked_for_later_was_not_lost() -> None:
    driver = begun("a")
    asked = driver.records("tool-calls")
    tell(driver, "tool-calls", before_ms=driver.now_ms - 1)
    driver.hear()
    assert driver.records("tool-calls") == asked


def test_a_timer_that_was_lost_is_set_again() -> None:
    driver = begun("a")
    while not driver.records("delays"):
        driver.act()
    lose(driver, "delays")
    driver.run()
    assert not driver.records("results")
    tell(driver, "delays")
    driver.run()
    assert driver.result("a").result == [2, 4, 12]


def test_requests_that_were_lost_can_be_asked_for_by_nobody() -> None:
    driver = begun("a")
    asked = driver.records("tool-calls")
    tell(driver, "tasks")
    driver.hear()
    assert (driver.records("tool-calls"), driver.reasons()) == (asked, [])


def test_a_crash_while_it_is_asked_again_forgets_no_task() -> None:
    tasks = [f"task-{number}" for number in range(5)]
    for at in range(12):
        driver = begun(*tasks)
        lose(driver, "tool-calls")
        tell(driver, "tool-calls")
        driver.crashes = {len(driver.acts) + at: 0}
        driver.run()
        assert [driver.result(task).result for task in tasks] == [[2, 4, 12]] * 5
        assert not [key for key, _ in driver.state["conduct"].scan(b"L")]


def test_more_tasks_than_are_looked_at_in_one_tick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("segue.processors.tasks.losses.TASKS_AT_ONCE", 2)
    driver = Driver(APP)
    for number in range(7):
        driver.submit("waits", None, f"before-{number}")
    driver.submit("doubled", [1], "x")
    driver.hear()
    lose(driver, "tool-calls")
    tell(driver, "tool-calls")
    driver.run()
    assert driver.result("x").result == [2, 4]
