"""Small stages, and a process that runs one of them, for the tests of the engine.

`python tests/kafka/engine.py SETTINGS WORKER` runs the stage `conduct` as a `Tally` until it is killed.
"""

import asyncio
import sys
from collections.abc import AsyncGenerator, Callable, Iterable
from contextlib import asynccontextmanager
from time import monotonic
from typing import Any

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer

from segue.processors.app.app import App
from segue.streams.engine.pure_runner import PureRunner, PureStage
from segue.streams.engine.supervisor import Runner, SupervisedStage
from segue.streams.kafka.partitioner import partition_of
from segue.streams.observability.metrics import Metrics
from segue.streams.settings import Settings
from segue.topics import codec
from segue.topics.flow import Decision, Publish, Received, State, Write
from segue.topics.records import Record, Result, TimerFired

APP = App("engine", workflows=[])
WAIT_S_MAX = 40.0


class Tally:
    """Counts the events of each task, in memory over its state: each is a result with the count."""

    def __init__(self, state: State) -> None:
        self._state = state
        self._counts: dict[str, int] = {}

    def handle(self, record: Received, now_ms: int) -> Decision:
        task = (record.key or b"").decode()
        if record.value == b"poison":
            raise ValueError("poison")
        count = self._counts.get(task) or int(self._state.get(task.encode()) or b"0")
        count = self._counts[task] = count + 1
        text = "x" * 2_000_000 if record.value == b"large" else None
        return Decision(
            [Publish("results", task, tallied(task, count, text))],
            [Write(task.encode(), b"%d" % count)],
        )

    def due_ms(self) -> int | None:
        return None

    def close(self) -> None:
        pass

    def tick(self, now_ms: int) -> Decision:
        return Decision()


def tallied(task: str, count: int, text: str | None = None) -> Result:
    return Result(
        task=task, workflow="tally", outcome="succeeded", result=text, steps=count, started_ms=0, at_ms=0
    )


def event(task: str, step: int = 0) -> TimerFired:
    return TimerFired(task=task, step=step, fingerprint="", at_ms=0)


def tally(settings: Settings, worker: str, make: Callable[[State], Any] = Tally) -> PureRunner:
    return PureRunner(PureStage("conduct", make), settings, worker, Metrics(APP, worker))


@asynccontextmanager
async def running(*runners: Runner) -> AsyncGenerator[list[SupervisedStage]]:
    """The runners, supervised, from when they are ready."""
    stages = [SupervisedStage(runner) for runner in runners]
    for stage in stages:
        await stage.start()
    try:
        await until(lambda: all(runner.ready for runner in runners))
        yield stages
    finally:
        for stage in stages:
            await stage.stop()


async def until(holds: Callable[[], bool]) -> None:
    deadline = monotonic() + WAIT_S_MAX
    while not holds():
        assert monotonic() < deadline, "it did not happen in time"
        await asyncio.sleep(0.02)


async def feed(settings: Settings, topic: str, records: Iterable[tuple[str, Record | bytes]]) -> None:
    async with AIOKafkaProducer(bootstrap_servers=settings.bootstrap) as producer:
        for key, value in records:
            await producer.send_and_wait(  # pyright: ignore[reportUnknownMemberType]
                settings.topic(topic),
                key=key.encode(),
                value=value if isinstance(value, bytes) else codec.encode(value),
                partition=partition_of(key.encode(), settings.partitions),
                headers=[("traceparent", b"00-1-2-01")],
            )


async def feed_at_once(settings: Settings, topic: str, records: Iterable[tuple[str, Record]]) -> None:
    """In as few requests as they fit in."""
    async with AIOKafkaProducer(bootstrap_servers=settings.bootstrap, linger_ms=20) as producer:
        for key, value in records:
            await producer.send(  # pyright: ignore[reportUnknownMemberType]
                settings.topic(topic),
                key=key.encode(),
                value=codec.encode(value),
                partition=partition_of(key.encode(), settings.partitions),
            )


async def read(settings: Settings, topic: str, most: int, quiet_s: float = 1.0) -> list[Any]:
    """Committed records until there are `most`, and then whatever else comes within `quiet_s`."""
    found: list[Any] = []
    async with AIOKafkaConsumer(
        settings.topic(topic),
        bootstrap_servers=settings.bootstrap,
        isolation_level="read_committed",
        auto_offset_reset="earliest",
    ) as consumer:
        deadline = monotonic() + WAIT_S_MAX
        while monotonic() < deadline:
            batch = await fetch(consumer)
            found += [record for records in batch.values() for record in records]
            if len(found) >= most:
                deadline = min(deadline, monotonic() + quiet_s)
    return found


async def fetch(consumer: Any) -> dict[Any, list[Any]]:
    return await consumer.getmany(timeout_ms=200)  # type: ignore[no-any-return]


async def counts(settings: Settings, task: str, most: int, quiet_s: float = 1.0) -> list[int]:
    """The counts of a task, in order of publication."""
    found = await read(settings, "results", most, quiet_s)
    results: list[Result] = [codec.decode("results", record.value) for record in found]
    return [result.steps for result in results if result.task == task]


async def _main(settings: Settings, worker: str) -> None:
    async with running(tally(settings, worker)):
        await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(_main(Settings.model_validate_json(sys.argv[1]), sys.argv[2]))
