"""Measure how long tasks wait while workers are killed, restarted and replaced.

Three workers (`segue worker`) serve a steady stream of tasks with one tool call each. The waiting time of a
task is the time from its request to its result. Each scenario runs on topics of its own:

    steady            nothing happens
    kill -9           one worker is killed and does not come back
    kill -9, restart  one worker is killed and started again at once, under the same name
    rolling restart   each worker in turn is asked to end (SIGTERM) and started again when it has ended
    crash loop        one worker is killed every 5 s and started again at once

    python -m benchmarks.takeover [--rate 20] [--only "crash loop"]
"""

import argparse
import asyncio
import os
import sys
import tempfile
import time
from asyncio.subprocess import Process
from collections import defaultdict
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer

from benchmarks.raw import delete_topics
from benchmarks.report import keep, measured
from segue import App, Task, tool, workflow
from segue.streams.kafka.partitioner import partition_of
from segue.streams.kafka.provisioning import provision
from segue.streams.local.broker import ensure_broker
from segue.streams.settings import Settings
from segue.topics import contracts

WORKERS = ("one", "two", "three")
PARTITIONS = 6
START_S_MAX = 120.0
SETTLE_S = 10.0
END_S_MAX = 90.0
CRASH_EVERY_S = 5.0
CRASHES = 12
STOP_S_MAX = 40.0
POLL_MS = 100


@tool
async def note(number: int) -> int:
    return number


@workflow
async def one(task: Task, number: int) -> int:
    return await task.tool(note, number=number)


APP = App("takeover", workflows=[one], tools=[note])


class Fleet:
    """Workers as processes, each with a state folder and a name of its own."""

    def __init__(self, settings: Settings, folder: Path) -> None:
        self._folder = folder
        self._env = os.environ | {
            "SEGUE_KAFKA": settings.bootstrap,
            "SEGUE_TOPIC_PREFIX": settings.topic_prefix,
            "SEGUE_PARTITIONS": str(settings.partitions),
            "SEGUE_METRICS_PORT": "0",
            "SEGUE_GUARANTEE": settings.guarantee,
        }
        self._running: dict[str, Process] = {}

    async def start(self, name: str) -> None:
        env = self._env | {"SEGUE_WORKER_ID": name, "SEGUE_STATE_DIR": str(self._folder / name)}
        command = (sys.executable, "-m", "segue.streams.cli", "worker", "benchmarks/takeover.py")
        with (self._folder / f"{name}.log").open("ab") as log:
            self._running[name] = await asyncio.create_subprocess_exec(
                *command, env=env, stdout=log, stderr=log
            )

    async def kill(self, name: str) -> None:
        process = self._running.pop(name)
        process.kill()
        await process.wait()

    async def terminate(self, name: str) -> None:
        process = self._running.pop(name)
        process.terminate()
        async with asyncio.timeout(STOP_S_MAX):
            await process.wait()

    async def end(self) -> None:
        for name in list(self._running):
            await self.kill(name)


class Stream:
    """Requests at a steady rate, and when each was made and answered."""

    def __init__(self, settings: Settings, rate: float) -> None:
        self._settings = settings
        self._rate = rate
        self._asked_s: dict[str, float] = {}
        self._answered_s: dict[str, float] = {}

    async def feed(self) -> None:
        async with AIOKafkaProducer(bootstrap_servers=self._settings.bootstrap) as producer:
            while True:
                number = len(self._asked_s)
                body = b'{"workflow": "one", "input": %d}' % number
                self._asked_s[str(number)] = time.monotonic()
                await producer.send(self._settings.topic("tasks"), key=b"%d" % number, value=body)  # pyright: ignore[reportUnknownMemberType]
                await asyncio.sleep(1 / self._rate)

    async def read(self) -> None:
        topic = self._settings.topic("results")
        consumer: Any = AIOKafkaConsumer(
            topic,
            bootstrap_servers=self._settings.bootstrap,
            isolation_level="read_committed",
            auto_offset_reset="earliest",
        )
        async with consumer:
            while True:
                batch = await consumer.getmany(timeout_ms=POLL_MS)
                now_s = time.monotonic()
                for record in (record for records in batch.values() for record in records):
                    self._answered_s.setdefault(record.key.decode(), now_s)

    def answered(self, since_s: float) -> int:
        return sum(at_s >= since_s for at_s in self._answered_s.values())

    def waits_s(self, since_s: float) -> dict[int, list[float]]:
        """Waiting times, ascending, of the tasks that were asked for since then, by their partition.

        All tasks must have ended.
        """
        waits: dict[int, list[float]] = defaultdict(list)
        for task, at_s in self._asked_s.items():
            if at_s >= since_s:
                waits[partition_of(task.encode(), PARTITIONS)].append(self._answered_s[task] - at_s)
        return {number: sorted(each) for number, each in waits.items()}

    async def flows(self) -> None:
        """Returns when tasks are answered about as fast as they are asked for."""
        async with asyncio.timeout(START_S_MAX):
            while not self._answered_s or len(self._asked_s) - len(self._answered_s) > self._rate:  # noqa: ASYNC110
                await asyncio.sleep(POLL_MS / 1000)

    async def all_answered(self) -> None:
        async with asyncio.timeout(END_S_MAX):
            while len(self._answered_s) < len(self._asked_s):  # noqa: ASYNC110 - another process answers
                await asyncio.sleep(POLL_MS / 1000)


Scenario = Callable[[Fleet], Awaitable[None]]


async def steady(_: Fleet) -> None:
    await asyncio.sleep(20.0)


async def killed(fleet: Fleet) -> None:
    await fleet.kill("two")
    await asyncio.sleep(20.0)


async def restarted(fleet: Fleet) -> None:
    await fleet.kill("two")
    await fleet.start("two")
    await asyncio.sleep(20.0)


async def rolled(fleet: Fleet) -> None:
    for name in WORKERS:
        await fleet.terminate(name)
        await fleet.start(name)
        await asyncio.sleep(10.0)


async def crash_looped(fleet: Fleet) -> None:
    for _ in range(CRASHES):
        await restart(fleet)
        await asyncio.sleep(CRASH_EVERY_S)


async def restart(fleet: Fleet) -> None:
    await fleet.kill("two")
    await fleet.start("two")


SCENARIOS: dict[str, Scenario] = {
    "steady": steady,
    "kill -9": killed,
    "kill -9, restart": restarted,
    "rolling restart": rolled,
    "crash loop": crash_looped,
}


async def measure(settings: Settings, folder: Path, scenario: Scenario, rate: float) -> dict[str, Any]:
    fleet, stream = Fleet(settings, folder), Stream(settings, rate)
    try:
        for name in WORKERS:
            await fleet.start(name)
        reading = asyncio.create_task(stream.read())
        feeding = asyncio.create_task(stream.feed())
        await stream.flows()
        await asyncio.sleep(SETTLE_S)
        began_s = time.monotonic()
        await scenario(fleet)
        lasted_s = time.monotonic() - began_s
        answered = stream.answered(began_s)
        feeding.cancel()
        await stream.all_answered()
        reading.cancel()
    finally:
        await fleet.end()
    by_partition = stream.waits_s(began_s)
    waits_s = sorted(wait_s for each in by_partition.values() for wait_s in each)
    return {
        "lasted_s": round(lasted_s, 1),
        "results_per_s": round(answered / lasted_s, 1),
        "wait_s_p50": round(waits_s[len(waits_s) // 2], 2),
        "wait_s_p50_by_partition": sorted(round(each[len(each) // 2], 2) for each in by_partition.values()),
        "wait_s_max_by_partition": sorted(round(each[-1], 2) for each in by_partition.values()),
    }


@asynccontextmanager
async def prepared() -> AsyncGenerator[tuple[Settings, Path]]:
    """Topics and state of its own, which are gone afterwards."""
    given = Settings.load()
    await ensure_broker(given)
    with tempfile.TemporaryDirectory() as folder:
        update = {
            "topic_prefix": f"bench-takeover-{time.time_ns()}.",
            "kafka": given.bootstrap,
            "partitions": PARTITIONS,
        }
        settings = given.model_copy(update=update)
        await provision(settings)
        try:
            yield settings, Path(folder)
        finally:
            await delete_topics(settings, [topic.name for topic in contracts.ALL])


async def run(rate: float, only: str | None) -> dict[str, Any]:
    found: dict[str, Any] = {"tasks_per_s": rate, "workers": len(WORKERS)}
    for name, scenario in SCENARIOS.items():
        if only in (None, name):
            async with prepared() as (settings, folder):
                found[name] = await measure(settings, folder, scenario, rate)
                print(f"{name}: {found[name]}", flush=True)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rate", type=float, default=20.0)
    parser.add_argument("--only", choices=SCENARIOS)
    given = parser.parse_args()
    keep("takeover", measured(run(given.rate, given.only)))


if __name__ == "__main__":
    main()
