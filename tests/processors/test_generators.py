"""Async generators of a workflow are closed to their end, at the same time in each replay."""

import asyncio
import contextlib
import gc
from collections.abc import AsyncGenerator, AsyncIterator
from typing import Any

import pytest

from segue import App, Permanent, Task, Workflow, tool, workflow
from tests.driver import Driver
from tests.processors.rooms import cancel_room, reserve


@tool
async def note(text: str) -> str:
    return text


@tool(retries=0)
async def broken() -> None:
    raise Permanent("closed")


class Forgetful(Driver):
    """The coroutine is rebuilt after each act that decided anything."""

    def act(self) -> bool:
        acted = super().act()
        if acted and (self.acts[-1].publish or self.acts[-1].write):
            self.restart()
        return acted


def played(run: Workflow[Any, Any], kind: type[Driver] = Driver, *signals: dict[str, Any]) -> Driver:
    driver = kind(App("x", workflows=[run], tools=[note, broken, cancel_room, reserve]))
    driver.submit(run.name)
    for number, each in enumerate(signals):
        driver.run(until_ms=driver.now_ms + 1)
        driver.produce("signals", {"task": "t", "id": str(number), **each})
    driver.run()
    return driver


def told(driver: Driver) -> list[str]:
    return [call.arguments["text"] for call in driver.records("tool-calls", "t") if call.route == "note"]


CANCEL = {"kind": "cancel", "reason": "enough"}


@pytest.mark.parametrize("kind", [Driver, Forgetful])
def test_one_that_is_left_by_a_break_runs_all_of_its_finally(kind: type[Driver]) -> None:
    @workflow
    async def run(task: Task) -> str:
        async def offers() -> AsyncIterator[int]:
            try:
                yield 1
                yield 2
            finally:
                await task.tool(note, "first half")
                await task.sleep(5)
                await task.tool(note, "second half")

        async for _ in offers():
            break
        return await task.tool(note, "went on")

    driver = played(run, kind)
    assert driver.result().result == "went on"
    assert sorted(told(driver)) == ["first half", "second half", "went on"]
    assert told(driver)[-1] == "second half"


def test_the_task_ends_after_them_however_it_ends() -> None:
    log: list[str] = []

    async def rooms(task: Task, name: str) -> AsyncGenerator[int, None]:
        try:
            yield 1
        finally:
            await task.sleep(3)
            await task.tool(note, name)
            log.append(name)

    @workflow
    async def fails(task: Task) -> None:
        await task.tool(reserve, "Faro")
        async for _ in rooms(task, "fails"):
            await task.tool(broken)

    @workflow
    async def is_cancelled(task: Task) -> None:
        async for _ in rooms(task, "is_cancelled"):
            await task.signal("never")

    @workflow
    async def goes_on_anew(task: Task) -> None:
        if not log:
            await task.tool(note, "a step")
            async for _ in rooms(task, "goes_on_anew"):
                task.continue_as_new()

    for run, signals, outcome in (
        (fails, (), "failed"),
        (is_cancelled, (CANCEL, CANCEL), "cancelled"),
        (goes_on_anew, (), "succeeded"),
    ):
        log.clear()
        driver = played(run, Driver, *signals)
        assert driver.result().outcome == outcome
        assert log == [run.name]
        assert told(driver)[-1] == run.name
        assert run is not fails or driver.ran[-1].endswith("cancel_room"), "undone after that"


@pytest.mark.parametrize("collects", [True, False])
def test_when_the_garbage_collector_finds_one_does_not_matter(collects: bool) -> None:
    @workflow
    async def run(task: Task) -> str:
        async def offers(name: str) -> AsyncIterator[int]:
            try:
                yield 1
            finally:
                await task.tool(note, f"close {name}")

        class Holder:
            def __init__(self, name: str) -> None:
                self.itself, self.offers = self, offers(name)

        for name in "ab":
            await anext(Holder(name).offers)
            if collects:
                gc.collect()
        await task.tool(note, "then")
        return await task.tool(note, "the end")

    assert told(played(run)) == ["then", "the end", "close a", "close b"]


def test_those_of_a_task_that_is_let_go_are_let_go_with_it() -> None:
    @workflow
    async def run(task: Task) -> str:
        async def offers() -> AsyncIterator[int]:
            try:
                yield 1
            finally:
                await task.tool(note, "closed")

        async def watch() -> None:
            async for _ in offers():
                await task.signal("never")

        watching = asyncio.create_task(watch())
        await asyncio.sleep(0)
        await task.tool(note, "done")
        return "watched" if watching.done() else "watching"

    driver = played(run)
    assert driver.result().result == "watching"
    assert told(driver) == ["done"]


def test_what_closing_one_raises_is_not_lost() -> None:
    @workflow
    async def run(task: Task) -> str:
        await task.tool(reserve, "Faro")

        async def offers() -> AsyncIterator[int]:
            try:
                yield 1
            finally:
                await task.tool(broken)

        async for _ in offers():
            break
        await task.sleep(5)
        return "done"

    driver = played(run)
    assert driver.result().outcome == "failed"
    problem = driver.result().problem
    assert problem is not None
    assert problem.message == "broken: closed"
    assert driver.ran[-1].endswith("cancel_room")


def test_a_context_manager_of_one_is_what_it_was() -> None:
    @workflow
    async def run(task: Task) -> list[str]:
        log: list[str] = []

        @contextlib.asynccontextmanager
        async def room() -> AsyncGenerator[str]:
            log.append(await task.tool(note, "enter"))
            try:
                yield "in it"
            finally:
                log.append(await task.tool(note, "leave"))

        async with room() as where:
            log.append(where)
        async with contextlib.aclosing(_letters()) as letters:
            async for letter in letters:
                log.append(letter)
                break
        return log

    assert played(run, Forgetful).result().result == ["enter", "in it", "leave", "a"]


async def _letters() -> AsyncGenerator[str, None]:
    for letter in "abc":
        yield letter


@pytest.mark.parametrize("collects", [True, False])
def test_a_task_that_nobody_refers_to_waits_on(collects: bool) -> None:
    """The garbage collector would close it, and its clean-up would ask for a step at any time."""

    @workflow
    async def run(task: Task) -> str:
        async def forgotten() -> None:
            try:
                await asyncio.Event().wait()
            finally:
                await task.tool(note, "cleaned up")

        asyncio.create_task(forgotten())  # noqa: RUF006 - that is what is tried
        await task.tool(note, "first")
        if collects:
            gc.collect()
        return await task.tool(note, "second")

    assert told(played(run)) == ["first", "second"]
