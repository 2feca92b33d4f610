"""Where the CPU time of a step goes, part by part, in µs: the code of the stages without a broker.

So many tasks go through their steps side by side, in the batches that the stages would see. Each part
handles a whole batch at a time under the CPU's clock, and its figure is that of its fastest batch: on a busy
machine that is what comes back the same. What a step costs beyond the sum is fetching, requests and the event
loop: `benchmarks.steps` measures all of it.

    python -m benchmarks.parts [--tasks 64] [--rounds 30]

With `SEGUE_ENCRYPTION_KEYS` set it shows what encryption costs.
"""

import argparse
import asyncio
import random
import tempfile
import time
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from aiokafka.structs import TopicPartition

from benchmarks.steps import APP, STEPS
from segue.processors.stages.conduct import Conduct
from segue.streams.calls.calls import CallPipeline, attempt
from segue.streams.calls.steps import execute
from segue.streams.engine.outbox import Outbox
from segue.streams.executors.tool import ToolExecutor
from segue.streams.kafka.broker_clock import now_ms
from segue.streams.kafka.record_batches import Identity, Outgoing
from segue.streams.observability.metrics import Metrics
from segue.streams.process.garbage_collection import look_for_garbage_less_often
from segue.streams.security.encryption import keys_of
from segue.streams.settings import Settings
from segue.streams.state.store import Store
from segue.topics import codec
from segue.topics.flow import Decision, Received
from segue.topics.records import Submitted

DECODED = "decode an event"
CHANGELOG = TopicPartition("conduct-state", 0)


class Clock:
    """The fastest time of each part, in µs a record."""

    def __init__(self) -> None:
        self.fastest: dict[str, float] = {}

    @contextmanager
    def part(self, name: str, records: int) -> Generator[None]:
        began_ns = time.process_time_ns()
        yield
        took_us = (time.process_time_ns() - began_ns) / 1000 / records
        self.fastest[name] = min(took_us, self.fastest.get(name, took_us))


class Stages:
    """conduct and tool on one partition, each batch's records handed over in memory."""

    def __init__(self, directory: Path, clock: Clock) -> None:
        self._settings = Settings.load()
        self._store = Store(directory)
        self._conduct = Conduct(APP, self._store, random.Random)
        self._metrics = Metrics(APP)
        executor = ToolExecutor(APP)
        self._calls = CallPipeline(APP, executor, attempt("tool", self._metrics), execute(executor))
        self._identity = Identity("parts")
        self._clock = clock
        self._offset = 0

    async def run(self, tasks: list[str]) -> None:
        """All steps of these tasks. Only the steps between the first and the last count."""
        events = self._submitted(tasks)
        for number in range(STEPS + 1):
            clock = self._clock if 0 < number < STEPS else Clock()
            calls = self._received("tool-calls", self._conducted(events, clock), clock)
            events = self._received("events", await self._called(calls, clock), clock)

    def _submitted(self, tasks: list[str]) -> list[Received]:
        begun = [
            Submitted(task=task, workflow="six", version=1, input=STEPS, at_ms=now_ms()) for task in tasks
        ]
        return [self._record("events", r.task.encode(), codec.encode(r)) for r in begun]

    def _conducted(self, events: list[Received], clock: Clock) -> list[Outgoing]:
        at_ms, outbox = now_ms(), Outbox(self._settings)
        with clock.part(DECODED, len(events)):
            for event in events:
                codec.decode("events", event.value)
        with clock.part("conduct: decode, journal, coroutine", len(events)):
            decisions = [self._conduct.handle(event, at_ms) for event in events]
        with clock.part("outbox: encode what conduct decided", len(events)):
            for event, decision in zip(events, decisions, strict=True):
                self._store.pend(outbox.add(decision, event, CHANGELOG))
        self._published("conduct", outbox, clock, len(events))
        with clock.part("RocksDB: the journal", len(events)):
            self._store.commit(self._offset, at_ms)
        return [record for record in outbox.records if record.to.topic.endswith("tool-calls")]

    async def _called(self, calls: list[Received], clock: Clock) -> list[Outgoing]:
        if not calls:
            return []
        with clock.part("tool: decode the call", len(calls)):
            jobs = [self._calls.job(call) for call in calls]
        with clock.part("tool: call the function, make the answer", len(calls)):
            decisions: list[Decision] = await asyncio.gather(*(_task(job.perform()) for job in jobs))
        outbox = Outbox(self._settings)
        with clock.part("outbox: encode the answer", len(calls)):
            for call, decision in zip(calls, decisions, strict=True):
                outbox.add(decision, call)
        self._published("tool", outbox, clock, len(calls))
        return outbox.records

    def _published(self, stage: str, outbox: Outbox, clock: Clock, records: int) -> None:
        with clock.part(f"batches: what {stage} publishes", records):
            self._identity.batches(outbox.records, now_ms())
        with clock.part(f"metrics: of {stage}", records):
            self._metrics.published(stage, outbox.published)

    def _received(self, topic: str, records: list[Outgoing], clock: Clock) -> list[Received]:
        found = [self._record(topic, record.key, record.value) for record in records]
        if (keys := keys_of(self._settings)) is None or not found:
            return found
        with clock.part(f"decrypt: {topic}", len(found)):
            return [keys.opened(record) for record in found]

    def _record(self, topic: str, key: bytes | None, value: bytes | None) -> Received:
        self._offset += 1
        return Received(topic, 0, self._offset, key, value, (codec.CONTENT_TYPE,), 0)


def _task(coroutine: Any) -> asyncio.Task[Decision]:
    return asyncio.create_task(coroutine)


async def measure(tasks: int, rounds: int) -> dict[str, float]:
    clock = Clock()
    look_for_garbage_less_often()  # as `segue worker` does
    with tempfile.TemporaryDirectory() as directory:
        stages = Stages(Path(directory), clock)
        for number in range(rounds):
            await stages.run([f"t{number}-{task}" for task in range(tasks)])
    return clock.fastest


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--tasks", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=30)
    given = parser.parse_args()
    parts = asyncio.run(measure(given.tasks, given.rounds))
    inside = parts.pop(DECODED)
    for name, us in parts.items():
        print(f"{us:7.1f}  {name}")
    print(f"{sum(parts.values()):7.1f}  in all, of which decoding an event {inside:.1f}")


if __name__ == "__main__":
    main()
