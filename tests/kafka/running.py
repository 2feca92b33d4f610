"""An example in processes of its own: its services, and as many workers as the test starts and kills."""

import asyncio
import signal
import sys
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

import httpx

from segue.streams.client.client import Client
from segue.streams.kafka.provisioning import provision
from segue.streams.settings import Settings
from segue.topics.errors import UnknownName
from segue.topics.records import Question, Status
from tests.kafka.conftest import worker_environment

ROOT = Path(__file__).parents[2]
PATIENCE_S = 200.0
T = TypeVar("T")


@dataclass
class Running:
    name: str
    client: Client
    env: dict[str, str]
    processes: list[asyncio.subprocess.Process] = field(default_factory=list[asyncio.subprocess.Process])

    async def run(self, *module: str) -> asyncio.subprocess.Process:
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", *module, env=self.env, cwd=ROOT, stdout=asyncio.subprocess.DEVNULL
        )
        self.processes.append(process)
        return process

    async def service(self, name: str, url: str) -> None:
        """Returns when it answers."""
        await self.run(f"examples.{self.name}.{name}")
        await until(lambda: _answers(f"{url}/health"))

    async def worker(self) -> asyncio.subprocess.Process:
        return await self.run("segue.streams.cli", "worker", f"examples/{self.name}")

    async def replaced(self, worker: asyncio.subprocess.Process) -> asyncio.subprocess.Process:
        """Kill -9, and another one."""
        worker.send_signal(signal.SIGKILL)
        await worker.wait()
        return await self.worker()

    async def question(self, task: str, to: str) -> Question:
        """The question that the task asks that person, as soon as it does."""
        return await until(lambda: self._asking(task, to))

    async def _asking(self, task: str, to: str) -> Question | None:
        try:
            status: Status = await self.client.status(task)
        except UnknownName:  # no worker has taken it up yet
            return None
        return next((question for question in status.questions if question.to == to), None)

    async def stop(self) -> None:
        for process in self.processes:
            if process.returncode is None:
                process.kill()
            await process.wait()


@asynccontextmanager
async def running(name: str, settings: Settings, **env: str) -> AsyncGenerator[Running]:
    await provision(settings)
    async with Client(settings) as client:
        there = Running(name, client, worker_environment(settings) | env)
        try:
            yield there
        finally:
            await there.stop()


async def until(look: Callable[[], Awaitable[T | None]]) -> T:
    async with asyncio.timeout(PATIENCE_S):
        while (found := await look()) is None:  # noqa: ASYNC110 - other processes have no event to set
            await asyncio.sleep(0.1)
        return found


async def _answers(url: str) -> bool | None:
    try:
        async with httpx.AsyncClient(trust_env=False) as http:
            return True if (await http.get(url)).is_success else None
    except httpx.HTTPError:
        return None
