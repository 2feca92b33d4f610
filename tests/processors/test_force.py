"""A task that is cancelled by force ends at once, whatever its code does, and if nobody has that code."""

import asyncio
from typing import Any

import pytest

from segue import App, Task, Workflow, workflow
from segue.processors.limits import Limits
from segue.streams.cli.commands.signals import heard_later
from segue.streams.cli.output import command_name
from segue.streams.testing.replay import Replay
from segue.topics.records import CancelRequested, Problem, Result
from tests.builders import received
from tests.driver import Driver
from tests.processors.rooms import cancel_room, reserve, reserve_later

WHY = "enough: cancelled by force, so nothing was cleaned up or undone"


@workflow
async def waits(task: Task) -> str:
    return str(await task.signal("go"))


@workflow(name="run")
async def clings(task: Task) -> None:
    """With a room, a step in flight, a child, a timer and a question; and it does not stop."""
    await task.tool(reserve, "Faro")
    others: list[Any] = [asyncio.create_task(task.child(waits))]
    others += [asyncio.create_task(task.tool(reserve_later)), asyncio.create_task(task.sleep(1000))]
    while True:
        try:
            await task.ask("ada", "shall it stop?")
        except asyncio.CancelledError:
            await task.tool(reserve, "Porto")


@workflow(name="run")
async def other(task: Task) -> None:
    await task.tool(cancel_room, "Lagos")


@workflow(name="run")
async def broken(task: Task) -> None:
    await task.tool(reserve, "Faro")
    others = [asyncio.create_task(task.child(waits)), asyncio.create_task(task.tool(reserve, "Porto"))]
    await asyncio.sleep(0)
    raise KeyError(len(others))


@workflow(name="run")
async def mended(task: Task) -> None:
    await task.tool(reserve, "Faro")
    await task.tool(reserve, "Lagos")


def app(*workflows: Workflow[Any, Any]) -> App:
    return App("x", workflows=workflows, tools=[cancel_room, reserve, reserve_later])


def begun(run: Workflow[Any, Any], **options: Any) -> Driver:
    driver = Driver(app(run, waits), **options)
    driver.submit("run")
    driver.run(until_ms=driver.now_ms + 1)
    return driver


def forced(driver: Driver) -> Driver:
    driver.produce("signals", {"kind": "cancel", "task": "t", "id": "f", "reason": "enough", "force": True})
    driver.run()
    return driver


def ended(driver: Driver) -> Result:
    """With nothing left of it in the state, and nothing for the dead letters."""
    assert not driver.reasons()
    assert driver.records("status", "t")[-1].state == "cancelled"
    assert not [key for key, _ in driver.state["conduct"].scan(b"") if key[:1] in b"JP"]
    return driver.result()


def test_it_ends_where_it_is() -> None:
    driver = forced(begun(clings))
    result = ended(driver)
    assert (result.outcome, result.problem and result.problem.message) == ("cancelled", WHY)
    assert driver.ran == ["t/0/1 reserve", "t/3/1 reserve_later", "t/3/2 reserve_later"], "calls go on"
    assert [each.kind for each in driver.records("questions")] == ["question", "question_closed"]
    assert driver.result("t/2").problem == Problem(
        type="Cancelled", message="its parent 't' no longer waits for it", retryable=False
    )


@pytest.mark.parametrize("exactly_once", [True, False])
def test_it_ends_once_wherever_it_is_crashed(exactly_once: bool) -> None:
    whole = forced(begun(clings))
    for point in range(len(whole.acts)):
        crashed = forced(begun(clings, crashes={point: 1}, exactly_once=exactly_once))
        results = {each.model_dump_json() for each in crashed.records("results", "t")}
        assert results == {whole.result().model_dump_json()}, point


@pytest.mark.parametrize("code", [[other], []], ids=["other code", "no code"])
def test_it_ends_where_nobody_has_its_code(code: list[Workflow[Any, Any]]) -> None:
    driver = begun(clings)
    driver.restart(app(waits, *code))
    driver.run()
    parked = driver.records("status", "t")[-1]
    assert parked.state == "parked"
    assert parked.problem.message.endswith("or end the task now by `segue cancel --force`")
    assert heard_later(parked) == (
        "the task is parked, and gets the cancellation only when code that fits it is back; "
        f"`{command_name()} cancel t --force` ends it now"
    )
    ran = list(driver.ran)
    assert forced(driver).result().outcome == "cancelled"
    assert driver.ran == ran


def test_at_a_bug_it_ends_as_cancelled_and_begins_nothing_that_was_held_back() -> None:
    driver = begun(broken)
    assert heard_later(driver.records("status", "t")[-1]) is None
    assert ended(forced(driver)).outcome == "cancelled"
    assert heard_later(driver.records("status", "t")[-1]) is None
    assert driver.ran == ["t/0/1 reserve"]


def test_what_mended_code_owes_is_not_begun() -> None:
    """A worker with mended code that learns of the force before it has tried the task anew."""
    driver = begun(broken)
    driver.app = app(mended, waits)
    force = CancelRequested(task="t", id="f", reason="enough", force=True, at_ms=driver.now_ms)
    decision = driver.conduct().handle(received("events", force), driver.now_ms)
    assert [publish.topic for publish in decision.publish] == ["results", "status"]


def test_a_task_that_waits_for_its_turn_never_begins() -> None:
    driver = Driver(app(clings, waits), limits=Limits(running_tasks_max=0))
    driver.submit("run")
    assert ended(forced(driver)).outcome == "cancelled"
    assert not driver.ran


def test_a_replay_ends_as_it_did() -> None:
    driver = forced(begun(clings))
    logs = [*driver.logs["events"], *driver.logs["results"]]
    replay = Replay(app(clings, waits), [record for record in logs if record.key == b"t"])
    assert list(replay)
    assert (replay.parked, replay.different_ending) == (None, None)
