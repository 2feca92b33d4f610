"""Tasks that are kept in flight on a worker in a process of its own, and what they took of it."""

import asyncio
import time
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import psutil
from pydantic_core import to_json

from benchmarks.isolation import clients
from benchmarks.slow.app import CALL_S, STEPS
from segue.streams.settings import Settings
from segue.topics import codec
from segue.topics.records import Result

TASK_S = STEPS * CALL_S
WATCH_EVERY_S = 0.5
MB = 2**20


@dataclass
class Load:
    """`results` are those that have come and were not taken yet, by task."""

    settings: Settings
    producer: Any  # aiokafka's clients are only partly typed
    consumer: Any
    submitted: int = 0
    ended: int = 0
    failed: int = 0
    results: dict[str, Result] = field(default_factory=dict[str, Result])

    async def submit(self, workflow: str, given: object, **facts: Any) -> str:
        self.submitted += 1
        task = f"{workflow}-{self.submitted}"
        value = to_json({"workflow": workflow, "input": given, **facts})
        await self.producer.send(self.settings.topic("tasks"), value, key=task.encode())
        return task

    async def read(self) -> int:
        """How many tasks ended since the last time."""
        batches = await self.consumer.getmany(timeout_ms=200)
        found: list[Result] = [
            codec.decode("results", record.value) for records in batches.values() for record in records
        ]
        self.failed += sum(result.outcome != "succeeded" for result in found)
        self.results |= {result.task: result for result in found if result.workflow == "fast"}
        slow = sum(result.workflow == "slow" for result in found)
        self.ended += slow
        return slow

    async def fill(self, kind: str, tasks: int) -> None:
        """Begin so many tasks, evenly over the time that one takes, so that they do not march in step."""
        began_s, sent = time.perf_counter(), 0
        while sent < tasks:
            due = min(tasks, int((time.perf_counter() - began_s) / TASK_S * tasks) + 1)
            for _ in range(due - sent):
                await self.submit("slow", kind)
            sent = due
            await self.keep(kind, 0.0)

    async def keep(self, kind: str, seconds: float) -> int:
        """Begin a task for each that ends, for so long. Returns how many ended."""
        ended, until = 0, time.perf_counter() + seconds
        while True:
            done = await self.read()
            ended += done
            for _ in range(done):
                await self.submit("slow", kind)
            if time.perf_counter() >= until:
                return ended

    async def drain(self, tasks: int) -> None:
        while tasks > 0:
            tasks -= await self.read()

    async def fast_ms(self, steps: int, **facts: Any) -> list[float]:
        """Milliseconds between the steps of a task that does nothing else."""
        task = await self.submit("fast", steps, **facts)
        while task not in self.results:
            await self.read()
        at: Any = self.results.pop(task).result
        return [(after - before) * 1000 for before, after in pairwise(at)]


@asynccontextmanager
async def load(settings: Settings) -> AsyncGenerator[Load]:
    async with clients(settings, linger_ms=5) as (producer, results):
        yield Load(settings, producer, results)


@dataclass
class Used:
    """CPU time and memory of a process, counted from the call of `Used.of`."""

    process: psutil.Process
    cpu_s: float
    memory_max: int = 0

    @classmethod
    def of(cls, pid: int) -> "Used":
        process = psutil.Process(pid)
        return cls(process, sum(process.cpu_times()[:2]))

    @property
    def since_s(self) -> float:
        return float(sum(self.process.cpu_times()[:2])) - self.cpu_s

    async def watch(self) -> None:
        while True:
            self.memory_max = max(self.memory_max, self.process.memory_info().rss)
            await asyncio.sleep(WATCH_EVERY_S)
