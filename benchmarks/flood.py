"""A flood: so many tasks at once, and what it does to one worker and to those who come with it.

A worker of its own (`segue worker`) runs while tasks of two no-op tool steps each are sent as fast as they
can be, all by one tenant. Right behind the last of them, and again when half have ended, come a few that are
urgent and a few of another tenant. What is measured: the resident memory of the worker, tasks that end per
second, and how long the few waited for their result, beside the flood itself. A task waits from when it is
sent until its result is on its topic.

    python -m benchmarks.flood [--tasks 200000]
"""

import argparse
import asyncio
import os
import statistics
import sys
import time
from asyncio.subprocess import Process
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
from pydantic_core import to_json

from benchmarks.isolation import clients, own_settings
from benchmarks.report import keep, measured
from segue import App, Task, tool, workflow
from segue.streams.kafka.provisioning import provision
from segue.streams.kafka.reader import Reader
from segue.streams.settings import Settings
from segue.topics import codec
from segue.topics.records import Result

ROOT = Path(__file__).parents[1]
FEW = 20
WATCH_EVERY_S = 0.5
STOP_S_MAX = 40.0
MB = 2**20


@tool
async def noop(n: int) -> int:
    return n


@workflow
async def two(task: Task) -> None:
    for n in range(2):
        await task.tool(noop, n=n)


APP = App("flood", workflows=[two], tools=[noop])


@dataclass
class Flood:
    """What was sent, and what came of it."""

    settings: Settings
    producer: Any  # aiokafka's clients are only partly typed
    results: Any
    sent_ms: dict[str, int] = field(default_factory=dict[str, int])
    waited_ms: dict[str, int] = field(default_factory=dict[str, int])
    failed: int = 0
    memory_mb: list[float] = field(default_factory=list[float])

    async def send(self, group: str, count: int, **facts: Any) -> None:
        topic = self.settings.topic("tasks")
        for number in range(count):
            task = f"{group}-{number}"
            self.sent_ms[task] = time.time_ns() // 1_000_000
            await self.producer.send(topic, to_json({"workflow": "two", **facts}), key=task.encode())
        await self.producer.flush()

    async def send_the_few(self, when: str) -> None:
        await self.send(f"urgent {when}", FEW, tenant="flood", priority=9)
        await self.send(f"other {when}", FEW, tenant="other")

    async def run(self, tasks: int) -> None:
        """Send all, and read results until each has one."""
        sending = asyncio.create_task(self._send_all(tasks))
        halfway = False
        while not (sending.done() and len(self.waited_ms) == len(self.sent_ms)):
            await self._read()
            if not halfway and sending.done() and len(self.waited_ms) > tasks / 2:
                halfway = True
                await self.send_the_few("later")
        await sending

    async def _send_all(self, tasks: int) -> None:
        await self.send("flood", tasks, tenant="flood")
        await self.send_the_few("at once")

    async def _read(self) -> None:
        batches = await self.results.getmany(timeout_ms=500)
        for record in (record for records in batches.values() for record in records):
            result: Result = codec.decode("results", record.value)
            self.failed += result.outcome != "succeeded"
            self.waited_ms[result.task] = record.timestamp - self.sent_ms[result.task]

    async def watch(self, worker: Process) -> None:
        process = psutil.Process(worker.pid)
        while True:
            self.memory_mb.append(process.memory_info().rss / MB)
            await asyncio.sleep(WATCH_EVERY_S)

    def waits_s(self, group: str) -> dict[str, float]:
        waited = [ms / 1000 for task, ms in self.waited_ms.items() if task.startswith(group)]
        return {"p50": round(statistics.median(waited), 2), "max": round(max(waited), 2)}


async def flood(settings: Settings, tasks: int) -> dict[str, Any]:
    """The figures of a flood on topics of its own."""
    await provision(settings)
    async with clients(settings, linger_ms=5) as (producer, results), worker(settings) as begun:
        played = Flood(settings, producer, results)
        watching = asyncio.create_task(played.watch(begun))
        began_s = time.perf_counter()
        await played.run(tasks)
        duration_s = time.perf_counter() - began_s
        watching.cancel()
        failures, dead_letters = [await written(settings, name) for name in ("failures", "dead-letters")]
    groups = ("flood", "urgent at once", "other at once", "urgent later", "other later")
    return {
        "guarantee": settings.guarantee,
        "tasks": tasks,
        "ended": len(played.waited_ms),
        "not_succeeded": played.failed,
        "failed_attempts": failures,
        "dead_letters": dead_letters,
        "tasks_per_s": round(tasks / duration_s),
        "memory_mb": {"before": round(played.memory_mb[0]), "max": round(max(played.memory_mb))},
        "wait_s": {group: played.waits_s(group) for group in groups},
    }


@asynccontextmanager
async def worker(settings: Settings, app: str = "benchmarks/flood.py") -> AsyncGenerator[Process]:
    """`segue worker`, from when its stages have begun."""
    env = os.environ | {
        "SEGUE_KAFKA": settings.bootstrap,
        "SEGUE_TOPIC_PREFIX": settings.topic_prefix,
        "SEGUE_GUARANTEE": settings.guarantee,
        "SEGUE_PARTITIONS": str(settings.partitions),
        "SEGUE_REPLICATION": str(settings.replication),
        "SEGUE_RUNNING_TASKS_MAX": str(settings.running_tasks_max),
        "SEGUE_METRICS_PORT": "0",
        "SEGUE_STATE_DIR": str(settings.state_dir),
    }
    command = ("-m", "segue.streams.cli", "worker", app)
    process = await asyncio.create_subprocess_exec(
        sys.executable, *command, env=env, cwd=ROOT, stderr=asyncio.subprocess.PIPE
    )
    assert process.stderr is not None
    await _until_ready(process.stderr)
    draining = asyncio.create_task(process.stderr.read())
    try:
        yield process
    finally:
        process.terminate()
        async with asyncio.timeout(STOP_S_MAX):
            await process.wait()
        draining.cancel()


async def _until_ready(log: asyncio.StreamReader) -> None:
    async for line in log:
        if b"is ready" in line:
            return
    raise RuntimeError("the worker ended before it was ready")


async def written(settings: Settings, topic: str) -> int:
    async with Reader(settings) as reader:
        return sum((await reader.ends(reader.partitions(topic))).values())


async def _measure(tasks: int) -> dict[str, Any]:
    async with own_settings("flood") as settings:
        return await flood(settings, tasks)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--tasks", type=int, default=200_000)
    given = parser.parse_args()
    keep("flood", measured(_measure(given.tasks)))


if __name__ == "__main__":
    main()
