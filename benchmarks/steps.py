"""Durable steps per second, and milliseconds per step alone, beside what plain aiokafka does for two hops.

A task makes three to nine no-op tool steps, six in the mean: tasks that are all alike march in step, in one
batch, and flatter. Results have 200 bytes. Load: so many tasks in flight, all stages in this one process.
Tools are called by the stage `tool`, and once more as local ones, by the stage `conduct`.
Alone: one task at a time; a step is the time from one call of the tool to the next. Raw: two loops of plain
aiokafka that pass one record back and forth with the same guarantee: what two hops cost at least.
Guarantees, tools and loads are interleaved over the rounds; figures are medians over the rounds.

    python -m benchmarks.steps [--rounds 3] [--seconds 5]
"""

import argparse
import asyncio
import gc
import random
import statistics
import tempfile
import time
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from itertools import pairwise, product
from pathlib import Path
from typing import Any

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from pydantic_core import to_json

from benchmarks.raw import Guarantee, delete_topics, raw_two_hop_ms
from benchmarks.report import keep, measured
from segue import App, Task, tool, workflow
from segue.streams.engine.worker import Worker
from segue.streams.local.broker import ensure_broker
from segue.streams.process.garbage_collection import look_for_garbage_less_often
from segue.streams.settings import Settings
from segue.topics import contracts

STEPS = 6
WARM_UP = 5
IN_FLIGHT = (64, 512)
RESULT = {"ok": True, "text": "x" * 179}
assert len(to_json(RESULT)) == 200

called_at: list[float] = []
"""When the tool was called, by `time.perf_counter`: the alone run reads the steps' durations off it."""


@tool
async def noop(n: int) -> Any:  # noqa: ARG001 - so that each call is another
    called_at.append(time.perf_counter())
    return RESULT


@workflow
async def six(task: Task, steps: int) -> Any:
    for n in range(steps):
        await task.tool(noop, n=n)
    return None


@workflow
async def wide(task: Task, steps: int) -> None:
    await task.gather(*(task.tool(noop, n=n) for n in range(steps)))


APP = App("benchmark", workflows=[six, wide], tools=[noop])
LOCAL = App("benchmark", workflows=[six, wide], tools=[replace(noop, local=True)])


@dataclass(frozen=True)
class Seat:
    """One of several workers on the same topics, which the first makes and deletes."""

    prefix: str
    number: int = 0


@dataclass
class Bench:
    """A worker, and a client that keeps tasks in flight."""

    settings: Settings
    producer: Any  # aiokafka's clients are only partly typed
    results: Any
    seat: Seat
    submitted: int = 0
    draw: random.Random = field(default_factory=lambda: random.Random(7))

    async def submit(self, count: int, given: int | None = None, workflow: str = "six") -> None:
        """Tasks with this input, or of three to nine steps."""
        topic = self.settings.topic("tasks")
        for _ in range(count):
            self.submitted += 1
            key = self._mine + b"%d" % self.submitted
            value = to_json({"workflow": workflow, "input": given or self.draw.randint(3, 9)})
            await self.producer.send(topic, value, key=key)

    async def finished(self) -> int:
        batches = await self.results.getmany(timeout_ms=1000)
        return sum(record.key.startswith(self._mine) for batch in batches.values() for record in batch)

    @property
    def _mine(self) -> bytes:
        return b"%d-" % self.seat.number

    async def steps_per_s(self, in_flight: int, seconds: float) -> float:
        """Steps of tasks that ended within the window, after a warm-up of a quarter of it."""
        await self.submit(in_flight)
        await self._keep_in_flight(seconds / 4)
        begin = time.perf_counter()
        ended = await self._keep_in_flight(seconds)
        rate = ended * STEPS / (time.perf_counter() - begin)
        left = in_flight
        while left > 0:
            left -= await self.finished()
        called_at.clear()
        return rate

    async def _keep_in_flight(self, seconds: float) -> int:
        ended, until = 0, time.perf_counter() + seconds
        while time.perf_counter() < until:
            done = await self.finished()
            ended += done
            await self.submit(done)
        return ended

    async def step_ms(self, steps: int, warm_up: int = WARM_UP) -> list[float]:
        """Each step of one task alone, in ms, without the first."""
        called_at.clear()
        await self.submit(1, steps)
        while not await self.finished():
            pass
        return [(b - a) * 1000 for a, b in pairwise(called_at[warm_up:])]


@asynccontextmanager
async def running(guarantee: Guarantee, app: App = APP, seat: Seat | None = None) -> AsyncGenerator[Bench]:
    """A worker with state of its own. Without a `seat` among others its topics are its own too."""
    given = Settings.load()
    seat = seat or Seat(f"bench-{guarantee}-{time.time_ns()}.")
    with tempfile.TemporaryDirectory() as directory:
        settings = given.model_copy(
            update={
                "topic_prefix": seat.prefix,
                "worker_id": f"seat-{seat.number}",
                "guarantee": guarantee,
                "metrics_port": 0,
                "kafka": given.bootstrap,
                "state_dir": Path(directory) / "state",
            }
        )
        worker, bench = await start(settings, app, seat)
        try:
            yield bench
        finally:
            await asyncio.gather(bench.producer.stop(), bench.results.stop())
            await worker.stop()
            if seat.number == 0:
                await delete_topics(settings, [topic.name for topic in contracts.ALL])
            gc.unfreeze()
            gc.collect()


async def start(settings: Settings, app: App, seat: Seat) -> tuple[Worker, Bench]:
    worker = Worker(app, settings)
    await worker.start()
    await worker.ready()
    look_for_garbage_less_often()  # as `segue worker` does
    options = settings.client_options()
    producer: Any = AIOKafkaProducer(**options, linger_ms=0)
    isolation = "read_committed" if settings.guarantee == "exactly_once" else "read_uncommitted"
    results: Any = AIOKafkaConsumer(
        settings.topic("results"), **options, isolation_level=isolation, auto_offset_reset="earliest"
    )
    await asyncio.gather(producer.start(), results.start())
    return worker, Bench(settings, producer, results, seat)


async def measure(rounds: int, seconds: float) -> list[dict[str, Any]]:
    settings = Settings.load()
    await ensure_broker(settings)
    found: dict[tuple[Guarantee, str, int], list[float]] = {}
    alone: dict[tuple[Guarantee, str], list[float]] = {}
    raw: dict[Guarantee, list[float]] = {}
    guarantees: tuple[Guarantee, ...] = ("exactly_once", "at_least_once")
    for number in range(rounds):
        for guarantee, (tools, app) in product(guarantees, (("by topic", APP), ("local", LOCAL))):
            raw.setdefault(guarantee, []).extend(await raw_two_hop_ms(settings, guarantee))
            async with running(guarantee, app) as bench:
                alone.setdefault((guarantee, tools), []).extend(await bench.step_ms(200))
                for in_flight in IN_FLIGHT:
                    rate = await bench.steps_per_s(in_flight, seconds)
                    found.setdefault((guarantee, tools, in_flight), []).append(rate)
                    print(
                        f"round {number + 1}: {guarantee}, tools {tools}, {in_flight} in flight: "
                        f"{rate:,.0f} steps/s",
                        flush=True,
                    )
    return [_row(key, rates, alone[key[:2]], raw[key[0]]) for key, rates in found.items()]


def _row(
    key: tuple[Guarantee, str, int], rates: list[float], alone: list[float], raw: list[float]
) -> dict[str, Any]:
    return {
        "guarantee": key[0],
        "tools": key[1],
        "in_flight": key[2],
        "steps_per_s": round(statistics.median(rates)),
        "step_ms_p50": round(statistics.median(alone), 2),
        "step_ms_p99": round(statistics.quantiles(alone, n=100)[98], 2),
        "raw_two_hop_ms_p50": round(statistics.median(raw), 2),
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=5.0)
    given = parser.parse_args()
    rows = measured(measure(given.rounds, given.seconds))
    keep("steps", {"rows": rows})


if __name__ == "__main__":
    main()
