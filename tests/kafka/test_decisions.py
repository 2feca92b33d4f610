"""Choices, judges and budgets on a real broker, whose worker is killed while the task waits for more."""

import asyncio
import json
import sys
from collections.abc import AsyncGenerator
from pathlib import Path

import pytest_asyncio

from segue import Budget, Spent
from segue.processors.views.timeline import Timeline
from segue.streams.client.client import Client
from segue.streams.kafka.provisioning import provision
from segue.streams.settings import Settings
from tests.kafka.conftest import worker_environment

ROOT = Path(__file__).parents[2]
PATIENCE_S = 240.0


class Workers:
    """One at a time; the next one kills the one before."""

    def __init__(self, env: dict[str, str]) -> None:
        self.env = env
        self.running: asyncio.subprocess.Process | None = None

    async def next(self) -> None:
        await self.end()
        command = (sys.executable, "-m", "segue.streams.cli", "worker", "tests/kafka/decisions")
        self.running = await asyncio.create_subprocess_exec(
            *command, env=self.env, cwd=ROOT, stdout=asyncio.subprocess.DEVNULL
        )

    async def end(self) -> None:
        if self.running is not None:
            self.running.kill()
            await self.running.wait()

    async def segue(self, *arguments: str) -> str:
        command = (sys.executable, "-m", "segue.streams.cli", *arguments)
        ran = await asyncio.create_subprocess_exec(
            *command, env=self.env, cwd=ROOT, stdout=asyncio.subprocess.PIPE
        )
        said, _ = await ran.communicate()
        assert ran.returncode == 0
        return said.decode()


@pytest_asyncio.fixture
async def workers(settings: Settings) -> AsyncGenerator[Workers]:
    await provision(settings)
    workers = Workers(worker_environment(settings))
    yield workers
    await workers.end()


async def waits(client: Client, task: str) -> str:
    """The text of its question."""
    async with asyncio.timeout(PATIENCE_S):
        while True:
            found = [status for status in await client.statuses() if status.task == task]
            if found and found[0].questions:
                return found[0].questions[0].text
            await asyncio.sleep(0.1)


async def test_a_task_escalates_stops_at_its_budget_and_goes_on_with_more(
    settings: Settings, workers: Workers
) -> None:
    """A line is the cheap model, the judge, the strong one and the judge: 400 tokens of a budget of 700."""
    await workers.next()
    async with Client(settings) as client:
        task = await client.start("write", 2)
        assert (await waits(client, task)).startswith("The task has used up its budget: 700 of 700 tokens")
        await workers.next()
        said = await workers.segue("budget", task, "--tokens", "5000")
        assert said == f"{task} may use 5,000 tokens in all\n"
        result = await client.result(task, PATIENCE_S)
        assert (result.outcome, result.result) == ("succeeded", ["quiet line 0", "quiet line 1"])
        spent = Spent(calls=11, input_tokens=1_100, unpriced_tokens=500, usd=1.125)
        assert result.spent == spent
        timeline = Timeline(task)
        for record in await client.history(task):
            timeline.apply(record)
    first = timeline.steps[0]
    assert first.choice is not None
    assert first.choice.reason == "cheap $0.0037, strong $0.0075 for about 3 tokens"
    assert [(a.by, a.outcome) for a in first.attempts.values()] == [
        ("cheap", "refused"),
        ("strong", "succeeded"),
    ]
    assert timeline.spent == spent
    shown = json.loads(await workers.segue("show", task, "--output", "json"))
    assert shown["spent"]["calls"] == 11
    assert "cheapest: cheap $0.0037" in await workers.segue("show", task)
    heading, row = (await workers.segue("usage")).splitlines()
    assert heading.split() == ["WORKFLOW", "TASKS", "CALLS", "SPENT"]
    assert row.split() == ["write", "1", "11", "$1.12", "+", "?", "1,100", "tokens"]


async def test_a_budget_may_come_with_the_request(settings: Settings, workers: Workers) -> None:
    await workers.next()
    async with Client(settings) as client:
        task = await client.start("write", 1, budget=Budget(usd=0.0))
        assert "$0.00 of $0.00 are spent" in await waits(client, task)
        await client.answer(task, 0)
        result = await client.result(task, PATIENCE_S)
    assert result.problem is not None
    assert (result.problem.type, result.spent) == ("BudgetExceeded", None)
