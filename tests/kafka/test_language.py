"""Schedules and tasks that go on anew, on a real broker, through kills of their worker."""

import asyncio
import signal
import sys
from collections.abc import AsyncGenerator, Awaitable, Callable
from datetime import datetime, timedelta
from itertools import pairwise
from pathlib import Path

import pytest
import pytest_asyncio

from segue.processors.app.schedules import Told, task_of
from segue.processors.views.timeline import Timeline
from segue.streams.client.client import Client
from segue.streams.client.schedules import listed, tell
from segue.streams.kafka.provisioning import provision
from segue.streams.settings import Settings
from segue.streams.testing.replay import Replay
from segue.topics.errors import UnknownName
from segue.topics.records import Status
from tests.kafka.conftest import worker_environment
from tests.kafka.language.app import app

ROOT = Path(__file__).parents[2]
PATIENCE_S = 60.0
Worker = asyncio.subprocess.Process


@pytest_asyncio.fixture
async def worker(settings: Settings) -> AsyncGenerator[Callable[[], Awaitable[Worker]]]:
    """Starts workers; those that are left are killed at the end."""
    await provision(settings)
    started: list[Worker] = []

    async def start() -> Worker:
        started.append(
            await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "segue.streams.cli", "worker", "tests/kafka/language/app.py"),
                env=worker_environment(settings),
                cwd=ROOT,
                stdout=asyncio.subprocess.DEVNULL,
            )
        )
        return started[-1]

    yield start
    for process in started:
        if process.returncode is None:
            process.kill()
        await process.wait()


async def until(look: Callable[[], Awaitable[bool]]) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while not await look():  # noqa: ASYNC110 - other processes have no event to set
            await asyncio.sleep(0.2)


async def status_of(client: Client, task: str) -> Status | None:
    try:
        return await client.status(task)
    except UnknownName:
        return None


async def ticks(client: Client) -> list[datetime]:
    """The times for which a task has ended, in order."""
    done = [s.task for s in await client.statuses() if s.workflow == "tick" and s.state == "succeeded"]
    return sorted(datetime.fromisoformat(task.removeprefix("ticks/")) for task in done)


async def test_each_second_is_run_once_though_its_worker_is_killed_and_a_pause_holds(
    settings: Settings, worker: Callable[[], Awaitable[Worker]]
) -> None:
    async with Client(settings) as client:
        first = await worker()

        async def ran(count: int) -> bool:
            return len(await ticks(client)) >= count

        await until(lambda: ran(3))
        first.send_signal(signal.SIGKILL)
        await first.wait()
        before = len(await ticks(client))
        await asyncio.sleep(3)
        await worker()
        await until(lambda: ran(before + 5))
        times = await ticks(client)
        assert {later - time for time, later in pairwise(times)} == {timedelta(seconds=1)}
        await tell(client, "ticks", Told(paused=True))

        async def rests() -> bool:
            return [view.state for view in await listed(client)] == ["paused"]

        await until(rests)
        paused = await ticks(client)
        await asyncio.sleep(3)
        assert await ticks(client) == paused
        status = await client.status(task_of("ticks"))
        assert status.state == "running"


async def test_a_task_goes_on_anew_and_shows_where_it_is_through_a_kill(
    settings: Settings, worker: Callable[[], Awaitable[Worker]]
) -> None:
    async with Client(settings) as client:
        first = await worker()
        task = await client.start("account", 0)

        async def has(total: int) -> bool:
            status = await status_of(client, task)
            return status is not None and status.view == {"total": total}

        await until(lambda: has(0))
        for amount in (1, 2, 3):
            await client.signal(task, "amount", amount)
        await until(lambda: has(6))
        first.send_signal(signal.SIGKILL)
        await first.wait()
        await client.signal(task, "amount", 4)
        await client.signal(task, "amount", 0)
        await worker()
        result = await client.result(task, PATIENCE_S)
        assert (result.outcome, result.result) == ("succeeded", 10)
        runs = [r for r in await client.history(task) if b'"kind":"submitted"' in (r.value or b"")]
        assert len(runs) == 1  # the log that is shown is that of the last run
        for number in range(4):
            told = Timeline(task, only=number)
            for record in await client.history(task, number):
                told.apply(record)
            total = sum(range(number + 1))
            assert (told.run, told.input, told.view) == (number, total, {"total": total})
            assert (told.state, told.next_input) == ("went on", total + number + 1)
            assert [(step.name, step.result) for step in told.steps.values() if step.kind == "tool"] == [
                ("add", total + number + 1)
            ]
            replay = Replay(app, await client.history(task, number), run=number)
            assert all(replay)
            assert (replay.parked, replay.different_ending) == (None, None)
        assert await client.history(task, 4) == await client.history(task)
        with pytest.raises(UnknownName, match="has no run 5: the last is run 4"):
            await client.history(task, 5)


async def test_runs_that_began_in_one_commit_are_told_and_play_again_each_for_itself(
    settings: Settings, worker: Callable[[], Awaitable[Worker]]
) -> None:
    await worker()
    async with Client(settings) as client:
        task = await client.start("savings", 0)
        for amount in (1, 2, 3):
            await client.signal(task, "amount", amount)
        await client.signal(task, "open")
        await client.signal(task, "amount", 0)
        assert (await client.result(task, PATIENCE_S)).result == 6
        for number, (total, following) in enumerate(pairwise((0, 1, 3, 6, None))):
            history = await client.history(task, number)
            told, replay = Timeline(task, only=number), Replay(app, history, run=number)
            for record in history:
                told.apply(record)
            assert all(replay)
            assert (replay.parked, replay.different_ending) == (None, None)
            assert (told.run, told.input, told.next_input) == (number, total, following)
