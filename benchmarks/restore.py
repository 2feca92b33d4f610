"""How fast a worker takes over: conduct's state from its own checkpoint, and from nothing.

100,000 open tasks, each with a journal of three entries, 700 bytes together with their keys. The stage itself
decides over events that are made here, and its changelog is committed in transactions as its runner commits
it; what the stores on disk hold by then is the checkpoint. Timed are: opening the stores from the checkpoint;
restoring them from nothing; making the stage over a whole store; the first event of a task that is not in
memory; and a stage that joins its group without a checkpoint, until it has answered the first event that
waits there, and the last of one for each partition.

    python -m benchmarks.restore [--tasks 100000] [--rounds 3]
"""

import argparse
import random
import statistics
import time
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition

from benchmarks.isolation import own_settings
from benchmarks.report import keep, measured
from segue import App, Task, tool, workflow
from segue.processors.stages.conduct import Conduct
from segue.streams.engine.outbox import Outbox
from segue.streams.engine.pure_runner import BATCH_RECORDS_MAX, Partition, PureRunner, PureStage
from segue.streams.engine.supervisor import SupervisedStage
from segue.streams.kafka.broker_clock import now_ms
from segue.streams.kafka.committer import Transactions
from segue.streams.kafka.partitioner import partition_of
from segue.streams.kafka.protocol import Membership
from segue.streams.kafka.provisioning import provision
from segue.streams.observability.metrics import Metrics
from segue.streams.process.garbage_collection import look_for_garbage_less_often
from segue.streams.settings import Settings
from segue.streams.state.restore import open_restored
from segue.streams.state.store import Store
from segue.topics import codec
from segue.topics.flow import Received, State
from segue.topics.records import CallTool, StepSucceeded, Submitted

STEPS = 3
RESULT = "x" * 40
REBUILDS = 1_000
NOBODY = Membership("", -1, "")


@tool
async def look_up(n: int) -> str:  # noqa: ARG001 - so that each call is another
    return RESULT


@workflow
async def three(task: Task, request: str) -> None:  # noqa: ARG001
    for n in range(STEPS):
        await task.tool(look_up, n=n)


APP = App("benchmark", workflows=[three], tools=[look_up])


def conduct(state: State) -> Conduct:
    return Conduct(APP, state, random.Random)


STAGE = PureStage("conduct", conduct)


# ---------------------------------------------------------------- filling


class Filler:
    """Lets the stage decide over the events of one partition's tasks, and commits its changelog."""

    def __init__(self, settings: Settings, number: int, store: Store, commits: Transactions) -> None:
        self._settings = settings
        self._commits = commits
        self._store = store
        changelog = TopicPartition(settings.topic("conduct-state"), number)
        self._partition = Partition(STAGE, store, changelog, keys=None)
        self.now_ms = now_ms
        self.waiting: list[CallTool] = []
        self.records = 0
        self.bytes = 0

    async def begin(self, tasks: list[str]) -> None:
        """Tasks whose last step has been asked for, and is not answered."""
        calls = await self._decided([_submitted(task) for task in tasks])
        for _ in range(STEPS - 1):
            calls = await self._decided([answered(call) for call in calls])
        self.waiting += calls

    async def end(self) -> None:
        """All tasks that wait, and what is due now."""
        for first in range(0, len(self.waiting), BATCH_RECORDS_MAX):
            await self._decided([answered(call) for call in self.waiting[first : first + BATCH_RECORDS_MAX]])
        self.waiting.clear()
        while (due_ms := self._partition.object.due_ms()) is not None and due_ms <= self.now_ms():
            await self._decided([])

    async def _decided(self, events: list[Submitted | StepSucceeded]) -> list[CallTool]:
        outbox, at_ms = Outbox(self._settings), self.now_ms()
        for event in events:
            await self._partition.handle(_received(event), outbox, at_ms)
        await self._partition.tick(outbox, at_ms)
        state = [record for record in outbox.records if record.is_state]
        self.records += len(state)
        self.bytes += sum(len(record.key or b"") + len(record.value or b"") for record in state)
        self._partition.committed(await self._commits.commit(state, {}, NOBODY, at_ms), at_ms)
        return [each.value for each in outbox.published if isinstance(each.value, CallTool)]

    def close(self) -> None:
        self._partition.object.close()
        self._store.close()


def _submitted(task: str) -> Submitted:
    return Submitted(task=task, workflow="three", version=1, input="a quiet beach hotel", at_ms=now_ms())


def answered(call: CallTool) -> StepSucceeded:
    return StepSucceeded(
        task=call.task,
        step=call.step,
        fingerprint=call.fingerprint,
        result=RESULT,
        route=call.route,
        candidate="look_up",
        duration_ms=1.5,
        at_ms=now_ms(),
    )


def _received(event: Submitted | StepSucceeded) -> Received:
    return Received("events", 0, 0, event.task.encode(), codec.encode(event), (), event.at_ms)


@asynccontextmanager
async def fillers_of(settings: Settings) -> AsyncGenerator[dict[int, Filler]]:
    """One for each partition, over the stores of the worker `checkpoint`."""
    commits = Transactions(settings, f"{settings.topic_prefix}filler")
    await commits.start()
    _, stores = await opened(settings, "checkpoint")
    fillers = {number: Filler(settings, number, store, commits) for number, store in stores.items()}
    try:
        yield fillers
    finally:
        for filler in fillers.values():
            filler.close()
        await commits.stop()


async def fill(fillers: dict[int, Filler], tasks: list[str]) -> None:
    mine: dict[int, list[str]] = {number: [] for number in fillers}
    for task in tasks:
        mine[partition_of(task.encode(), len(fillers))].append(task)
    for number, filler in fillers.items():
        for first in range(0, len(mine[number]), BATCH_RECORDS_MAX):
            await filler.begin(mine[number][first : first + BATCH_RECORDS_MAX])


def paths(settings: Settings, worker: str) -> dict[int, Path]:
    folder = settings.state_dir / worker / settings.topic_prefix
    return {number: folder / f"conduct-{number}" for number in range(settings.partitions)}


# ---------------------------------------------------------------- timing


async def opened(settings: Settings, worker: str) -> tuple[list[float], dict[int, Store]]:
    """The stores by partition, and when each was whole, in seconds."""
    begun_s = time.perf_counter()
    whole_s: list[float] = []
    found: dict[int, Store] = {}
    async for number, store in open_restored(settings, "conduct-state", paths(settings, worker)):
        whole_s.append(time.perf_counter() - begun_s)
        found[number] = store
    return whole_s, found


def started(store: Store, calls: list[CallTool]) -> tuple[float, float]:
    """Making the stage over a whole store, in ms; and a task's first event, which rebuilds it, in µs."""
    begun_s = time.perf_counter()
    stage = conduct(store)
    made_ms = (time.perf_counter() - begun_s) * 1e3
    outcomes = [_received(answered(call)) for call in random.sample(calls, REBUILDS)]
    begun_s = time.perf_counter()
    for outcome in outcomes:
        assert stage.handle(outcome, now_ms()).write, "the task has gone on"
    first_us = (time.perf_counter() - begun_s) / REBUILDS * 1e6
    stage.close()
    return made_ms, first_us


async def served(settings: Settings, calls: list[CallTool]) -> list[float]:
    """When a stage without a checkpoint has answered each event, one for each partition, in seconds."""
    options = settings.client_options()
    results: Any = AIOKafkaConsumer(settings.topic("results"), **options, isolation_level="read_committed")
    runner = SupervisedStage(PureRunner(STAGE, settings, "joins", Metrics(APP, "joins")))
    producer: Any = AIOKafkaProducer(**options)
    async with results, producer:
        await results.seek_to_end()
        for call in calls:
            event = answered(call)
            await producer.send_and_wait(settings.topic("events"), codec.encode(event), event.task.encode())
        begun_s = time.perf_counter()
        await runner.start()
        found: list[float] = []
        while len(found) < len(calls):
            batches = await results.getmany(timeout_ms=100)
            found += [time.perf_counter() - begun_s] * sum(map(len, batches.values()))
        await runner.stop()
    return found


async def measure(settings: Settings, tasks: int, rounds: int) -> dict[str, Any]:
    async with fillers_of(settings) as fillers:
        await fill(fillers, [f"task-{n}" for n in range(tasks)])
    waiting = {number: filler.waiting for number, filler in fillers.items()}
    records = sum(filler.records for filler in fillers.values())
    size = sum(filler.bytes for filler in fillers.values())
    print(f"{records:,} records, {size / 1e6:.0f} MB on the changelog", flush=True)
    found: dict[str, list[float]] = {}
    for number in range(rounds):
        row = await _round(settings, waiting, f"nothing-{number}", records, size)
        print(f"round {number + 1}: {row}", flush=True)
        for name, value in row.items():
            found.setdefault(name, []).append(value)
    served_s = await served(settings, [calls[0] for calls in waiting.values()])
    return {
        "tasks": tasks,
        "partitions": settings.partitions,
        "records": records,
        "bytes_per_task": size // tasks,
        **{name: round(statistics.median(values), 2) for name, values in found.items()},
        "joined_first_event_s": round(served_s[0], 2),
        "joined_last_partition_s": round(served_s[-1], 2),
    }


async def _round(
    settings: Settings, waiting: dict[int, list[CallTool]], worker: str, records: int, size: int
) -> dict[str, float]:
    checkpoint_s, stores = await opened(settings, "checkpoint")
    made = [started(store, waiting[number]) for number, store in stores.items()]
    for store in stores.values():
        store.close()
    begun_cpu_s = time.process_time()
    nothing_s, stores = await opened(settings, worker)
    nothing_cpu_s = time.process_time() - begun_cpu_s
    for store in stores.values():
        store.close()
    return {
        "checkpoint_s": checkpoint_s[-1],
        "nothing_s": nothing_s[-1],
        "nothing_first_partition_s": nothing_s[0],
        "nothing_cpu_s": nothing_cpu_s,
        "records_per_s": records / nothing_s[-1],
        "records_per_cpu_s": records / nothing_cpu_s,
        "mb_per_s": size / 1e6 / nothing_s[-1],
        "stage_made_ms": max(made_ms for made_ms, _ in made),
        "first_event_of_a_task_us": statistics.median(first_us for _, first_us in made),
    }


@asynccontextmanager
async def prepared(**given_too: Any) -> AsyncGenerator[Settings]:
    """Topics and state of its own, which are gone afterwards."""
    async with own_settings("bench-restore", **given_too) as settings:
        await provision(settings)
        yield settings


async def run(tasks: int, rounds: int) -> dict[str, Any]:
    look_for_garbage_less_often()  # as `segue worker` does
    async with prepared() as settings:
        return await measure(settings, tasks, rounds)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--tasks", type=int, default=100_000)
    parser.add_argument("--rounds", type=int, default=3)
    given = parser.parse_args()
    keep("restore", measured(run(given.tasks, given.rounds)))


if __name__ == "__main__":
    main()
