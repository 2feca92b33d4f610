"""Tasks that sleep: what many of them take of a worker's memory, and of its CPU while nothing happens.

A worker of its own (`segue worker`) is fed tasks that sleep for ten days. Once each has its timer, and the
worker has had a while to settle, its memory and its CPU time over a while are read, as they were before.

    python -m benchmarks.sleepers [--tasks 100000]
"""

import argparse
import asyncio
import time
from typing import Any

import psutil
from aiokafka import AIOKafkaProducer
from pydantic_core import to_json

from benchmarks.flood import MB, worker, written
from benchmarks.isolation import own_settings
from benchmarks.report import keep, measured
from segue import App, Task, workflow
from segue.streams.kafka.provisioning import provision
from segue.streams.settings import Settings

SLEEP_S = 10 * 86_400
SETTLE_S = 10.0
REST_S = 20.0
POLL_S = 1.0


@workflow
async def sleep(task: Task) -> None:
    await task.sleep(SLEEP_S)


APP = App("sleepers", workflows=[sleep])


async def measure(settings: Settings, tasks: int) -> dict[str, Any]:
    await provision(settings)
    async with worker(settings, "benchmarks/sleepers.py") as begun:
        process = psutil.Process(begun.pid)
        before = await _at_rest(process)
        began_s = time.perf_counter()
        await _fall_asleep(settings, tasks)
        duration_s = time.perf_counter() - began_s
        after = await _at_rest(process)
    return {
        "guarantee": settings.guarantee,
        "tasks": tasks,
        "asleep_per_s": round(tasks / duration_s),
        "before": before,
        "after": after,
        "bytes_per_task": round((after["memory_mb"] - before["memory_mb"]) * MB / tasks),
    }


async def _fall_asleep(settings: Settings, tasks: int) -> None:
    producer: Any = AIOKafkaProducer(**settings.client_options(), linger_ms=5)
    await producer.start()
    for number in range(tasks):
        value = to_json({"workflow": "sleep"})
        await producer.send(settings.topic("tasks"), value, key=f"sleeper-{number}".encode())
    await producer.stop()
    while await written(settings, "delays") < tasks:  # noqa: ASYNC110 - of another process
        await asyncio.sleep(POLL_S)


async def _at_rest(process: psutil.Process) -> dict[str, float]:
    await asyncio.sleep(SETTLE_S)
    before_s = sum(process.cpu_times()[:2])
    await asyncio.sleep(REST_S)
    cpu = (sum(process.cpu_times()[:2]) - before_s) / REST_S
    return {"memory_mb": round(process.memory_info().rss / MB, 1), "cpu_percent": round(cpu * 100, 1)}


async def run(tasks: int) -> dict[str, Any]:
    async with own_settings("sleepers") as settings:
        return await measure(settings, tasks)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--tasks", type=int, default=100_000)
    given = parser.parse_args()
    keep("sleepers", measured(run(given.tasks)))


if __name__ == "__main__":
    main()
