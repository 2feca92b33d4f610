"""Cancel scopes of anyio, which cancel again and again what waits in them: undos are done, no loop spins."""

import asyncio
from typing import Any

import anyio
import pytest

from segue import App, Permanent, StepError, Task, Workflow, tool, workflow
from segue.processors.event_loop import loop
from segue.processors.event_loop.loop import without_address
from segue.processors.workflow.parking import ENDLESS
from segue.topics.records import CallTool
from tests.driver import Driver
from tests.processors.rooms import cancel_room, reserve, reserve_later


@tool
async def note(text: str) -> str:
    return text


@tool(retries=0)
async def broken() -> None:
    raise Permanent("closed")


@pytest.fixture(autouse=True)
def _few_callbacks(monkeypatch: pytest.MonkeyPatch) -> None:
    """A loop that spins is stuck soon."""
    monkeypatch.setattr(loop, "CALLBACKS_MAX", 4_000)


class Forgetful(Driver):
    """The coroutine is rebuilt after each act that decided anything."""

    def act(self) -> bool:
        acted = super().act()
        if acted and (self.acts[-1].publish or self.acts[-1].write):
            self.restart()
        return acted


@pytest.fixture(params=[Driver, Forgetful])
def kind(request: pytest.FixtureRequest) -> type[Driver]:
    found: type[Driver] = request.param
    return found


def played(run: Workflow[Any, Any], kind: type[Driver] = Driver) -> Driver:
    driver = kind(App("x", workflows=[run], tools=[note, broken, cancel_room, reserve, reserve_later]))
    driver.submit(run.name)
    driver.run()
    return driver


def routes(driver: Driver) -> list[str]:
    calls: list[CallTool] = driver.records("tool-calls", "t")
    return [call.route for call in calls if call.attempt == 1]


def test_a_saga_in_a_scope_that_times_out_is_undone_then_the_workflow_goes_on(kind: type[Driver]) -> None:
    @workflow
    async def run(task: Task) -> bool:
        with anyio.move_on_after(5) as scope:
            async with task.saga():
                await task.tool(reserve, "Faro")
                await task.sleep(100)
        await task.tool(note, "goes on")
        return scope.cancelled_caught

    driver = played(run, kind)
    assert driver.result().result is True
    assert routes(driver) == ["reserve", "cancel_room", "note"]


def test_a_step_in_flight_is_waited_for_and_undone(kind: type[Driver]) -> None:
    @workflow
    async def run(task: Task) -> str:
        try:
            with anyio.fail_after(1):
                async with task.saga():
                    await task.tool(reserve, "Faro")
                    await task.tool(reserve_later)
        except TimeoutError:
            return "too late"
        return "in time"

    driver = played(run, kind)
    assert driver.result().result == "too late"
    assert routes(driver) == ["reserve", "reserve_later", "cancel_room", "cancel_room"]


def test_an_undo_by_hand_in_a_cancelled_scope_is_done(kind: type[Driver]) -> None:
    @workflow
    async def run(task: Task) -> str:
        with anyio.CancelScope() as scope:
            async with task.saga() as saga:
                await task.tool(reserve, "Faro")
                scope.cancel()
                await saga.undo()
        return await task.tool(note, "goes on")

    assert routes(played(run, kind)) == ["reserve", "cancel_room", "note"]


def test_a_group_that_fails_undoes_the_sagas_of_its_tasks(kind: type[Driver]) -> None:
    @workflow
    async def run(task: Task) -> list[str]:
        log: list[str] = []

        async def part(name: str) -> None:
            async with task.saga():
                await task.tool(reserve, name)
                await task.sleep(1_000)

        try:
            async with anyio.create_task_group() as group:
                for name in ("Faro", "Porto", "Lagos"):
                    group.start_soon(part, name)
                await task.sleep(5)
                await task.tool(broken)
        except* StepError as failed:
            log.append(str(failed.exceptions[0]))
        return log

    driver = played(run, kind)
    assert driver.result().result == ["broken: closed"]
    assert routes(driver) == ["reserve"] * 3 + ["broken"] + ["cancel_room"] * 3


def test_who_resists_a_cancelled_scope_gets_its_steps_and_holds_no_worker(kind: type[Driver]) -> None:
    """asyncio's TaskGroup does, while its tasks clean up."""

    @workflow
    async def run(task: Task) -> list[str]:
        log: list[str] = []

        async def cleans_up() -> None:
            try:
                await task.sleep(1_000)
            finally:
                log.append(await task.tool(note, "clean"))
                await task.sleep(60)
                log.append(await task.tool(note, "up"))

        with anyio.move_on_after(5):
            async with asyncio.TaskGroup() as group:
                group.create_task(cleans_up())
        resisted = asyncio.ensure_future(task.tool(note, "resisted"))
        with anyio.CancelScope() as scope:
            scope.cancel()
            while not resisted.done():
                try:
                    await asyncio.shield(resisted)
                except asyncio.CancelledError:
                    continue
        return [*log, resisted.result()]

    assert played(run, kind).result().result == ["clean", "up", "resisted"]


def test_clean_up_that_is_shielded_is_done_and_other_is_cancelled() -> None:
    @workflow
    async def run(task: Task) -> list[str]:
        log: list[str] = []
        with anyio.move_on_after(5):
            try:
                await task.sleep(100)
            finally:
                with anyio.CancelScope(shield=True):
                    log.append(await task.tool(note, "shielded"))
                await task.tool(note, "not shielded")
                log.append("never")
        return log

    assert played(run).result().result == ["shielded"]


def test_a_workflow_that_never_waits_is_cancelled_and_undone() -> None:
    @workflow
    async def run(task: Task) -> None:
        await task.tool(reserve, "Faro")
        while True:  # noqa: ASYNC110 - it is to be caught
            await asyncio.sleep(0)

    driver = played(run)
    problem = driver.result().problem
    assert problem is not None
    assert (problem.type, problem.message) == ("Stuck", ENDLESS)
    assert routes(driver) == ["reserve", "cancel_room"]


def test_a_workflow_that_does_not_even_hear_that_ends() -> None:
    @workflow
    async def run(task: Task) -> None:
        while True:
            try:
                await asyncio.sleep(0)
            except asyncio.CancelledError:
                continue

    assert played(run).result().outcome == "failed"


def test_one_that_waits_for_nothing_is_parked_and_undone_when_it_is_cancelled() -> None:
    @workflow
    async def run(task: Task) -> None:
        await task.tool(reserve, "Faro")
        await asyncio.Event().wait()

    driver = played(run)
    assert driver.bug().type == "Stuck"
    driver.produce("signals", {"kind": "cancel", "task": "t", "reason": "enough"})
    driver.run()
    assert (driver.result().outcome, routes(driver)) == ("failed", ["reserve", "cancel_room"])


def test_one_whose_bugs_do_not_park_fails_and_is_undone() -> None:
    @workflow(bugs=())
    async def run(task: Task) -> None:
        await task.tool(reserve, "Faro")
        await asyncio.Event().wait()

    driver = played(run)
    assert (driver.result().outcome, routes(driver)) == ("failed", ["reserve", "cancel_room"])


def test_a_cancellation_by_anyio_tells_no_address() -> None:
    said = "Cancelled via cancel scope 7f1c2d by <Task pending name='x' coro=<f() at 0x7f>>"
    assert without_address(f"{said}; reason: deadline exceeded") == (
        "Cancelled via cancel scope of anyio; reason: deadline exceeded"
    )
    assert without_address(said) == "Cancelled via cancel scope of anyio"
    assert without_address("enough") == "enough"
