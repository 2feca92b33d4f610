"""An agent on a real broker, whose worker is killed on the way."""

import asyncio
import sys
from collections.abc import AsyncGenerator
from dataclasses import dataclass
from pathlib import Path

import pytest_asyncio

from segue.streams.client.client import Client
from segue.streams.kafka.provisioning import provision
from segue.streams.settings import Settings
from tests.kafka.agents.app import WELLS
from tests.kafka.conftest import worker_environment

ROOT = Path(__file__).parents[2]
PATIENCE_S = 60.0
KILLED_AFTER = (8, 20)
"""Visits by then."""


@dataclass
class Field:
    client: Client
    visits: Path
    env: dict[str, str]
    worker: asyncio.subprocess.Process | None = None

    async def work(self) -> None:
        """A worker, in place of the one that there was: that one is killed."""
        await self.end()
        command = (sys.executable, "-m", "segue.streams.cli", "worker", "tests/kafka/agents")
        self.worker = await asyncio.create_subprocess_exec(
            *command, env=self.env, cwd=ROOT, stdout=asyncio.subprocess.DEVNULL
        )

    async def end(self) -> None:
        if self.worker is not None:
            self.worker.kill()
            await self.worker.wait()

    def visited(self) -> list[str]:
        return self.visits.read_text().splitlines()

    async def visited_by_then(self, visits: int) -> None:
        async with asyncio.timeout(PATIENCE_S):
            while len(self.visited()) < visits:  # noqa: ASYNC110 - other processes have no event to set
                await asyncio.sleep(0.02)


@pytest_asyncio.fixture
async def field(settings: Settings, tmp_path: Path) -> AsyncGenerator[Field]:
    await provision(settings)
    visits = tmp_path / "visits"
    visits.touch()
    env = worker_environment(settings) | {
        "VISITS": str(visits),
    }
    async with Client(settings) as client:
        there = Field(client, visits, env)
        yield there
        await there.end()


async def test_an_agent_killed_on_the_way_comes_to_its_result(field: Field) -> None:
    """49 steps; a visit that was under way at a kill is made again, with the same key."""
    await field.work()
    task = await field.client.start("find_water", "find the deepest well")
    for visits in KILLED_AFTER:
        await field.visited_by_then(visits)
        await field.work()
    result = await field.client.result(task, PATIENCE_S)
    assert (result.outcome, result.result) == ("succeeded", f"the deepest of {WELLS} is {WELLS - 1} m")
    assert result.steps == WELLS + WELLS // 2 + 1
    visited = field.visited()
    assert len(set(visited)) == WELLS
    assert len(visited) <= WELLS + 2 * len(KILLED_AFTER)
