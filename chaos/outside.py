"""The outside world: submits tasks, answers questions, sends signals and cancellations, and repeats itself.

It speaks to the broker directly, and sends each record until it is acknowledged, however often the broker is
killed meanwhile: what it sent twice has the same id. Some of it is sent twice on purpose, and some answers of
tools are put on `events` again, as a service would that answers twice.
"""

import asyncio
import contextlib
import time
from collections.abc import Coroutine, Iterable
from random import Random
from typing import Any

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.errors import KafkaError
from pydantic_core import to_json

from chaos.workload import Work, answer_to, drawn
from segue.streams.kafka.partitioner import partition_of
from segue.streams.settings import Settings
from segue.topics import codec
from segue.topics.records import (
    Answer,
    Cancel,
    Question,
    Record,
    Result,
    Signal,
    StepSucceeded,
    Submitted,
)

COPY = "chaos-copy"
"""The header of records that the outside put on `events`: the audit does not count them as Segue's."""

ANSWERED_TWICE = 0.02
"""The share of tools' answers that are put on `events` again."""

TICK_S = 0.05
SEND_TIMEOUT_MS = 5_000
RETRY_S = 0.3


class Outside:
    def __init__(self, settings: Settings, seed: int, tasks_per_s: float) -> None:
        self._settings = settings
        self._random = Random(f"outside {seed}")
        self._drawn = drawn(seed)
        self._tasks_per_s = tasks_per_s
        self._producer: Any = None
        self._running: set[asyncio.Task[None]] = set()
        self._failed: list[BaseException] = []
        self.works: dict[str, Work] = {}
        self.asked_s: dict[str, float] = {}
        """When the outside first wanted each task."""
        self.ended_s: dict[str, float] = {}
        """When it saw each task's result."""
        self._latest_s = [0.0] * settings.partitions
        """By partition, when the task was asked for that was asked for last among those that have ended."""

    async def __aenter__(self) -> "Outside":
        options = self._settings.client_options()
        self._producer = AIOKafkaProducer(**options, acks="all", request_timeout_ms=SEND_TIMEOUT_MS)
        await self._producer.start()
        self._begin(self._watch())
        return self

    async def __aexit__(self, *reason: object) -> None:
        for task in self._running:
            task.cancel()
        await asyncio.gather(*self._running, return_exceptions=True)
        with contextlib.suppress(KafkaError, TimeoutError):
            async with asyncio.timeout(SEND_TIMEOUT_MS / 1000):
                await self._producer.stop()
        for error in self._failed:  # the harness's own mistake: what it would report means nothing
            raise error

    @property
    def open(self) -> set[str]:
        return self.works.keys() - self.ended_s.keys()

    def flows_since(self, at_s: float) -> bool:
        """Whether on every partition a task has ended that was asked for after that moment."""
        return all(asked_s >= at_s for asked_s in self._latest_s)

    async def submit(self) -> None:
        """At an even pace until cancelled; a dead broker makes the pace no slower, only the sending later."""
        due_s = time.monotonic()
        while True:
            while due_s <= time.monotonic():
                due_s += 1 / self._tasks_per_s
                work = next(self._drawn)
                self.works[work.id], self.asked_s[work.id] = work, time.monotonic()
                self._begin(self._submit(work))
            await asyncio.sleep(TICK_S)

    def partition(self, task: str) -> int:
        return partition_of(task.encode(), self._settings.partitions)

    # ------------------------------------------------------------ sending

    async def _submit(self, work: Work) -> None:
        for _ in range(work.copies):
            await self._send("tasks", work.id, to_json({"workflow": work.workflow, "input": work.input}))
            await asyncio.sleep(self._random.uniform(0.0, 3.0) if work.copies > 1 else 0.0)

    async def _send_later(self, topic: str, record: Record, task: str, copies: int) -> None:
        for _ in range(copies):
            await asyncio.sleep(self._random.uniform(0.0, 1.5))
            await self._send(topic, task, codec.encode(record))

    async def _send(
        self, topic: str, key: str, value: bytes, headers: Iterable[tuple[str, bytes]] = ()
    ) -> None:
        while True:
            with contextlib.suppress(KafkaError):
                await self._producer.send_and_wait(
                    self._settings.topic(topic), value, key=key.encode(), headers=list(headers)
                )
                return
            await asyncio.sleep(RETRY_S)

    def _begin(self, coroutine: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(coroutine)
        self._running.add(task)
        task.add_done_callback(self._done)

    def _done(self, task: asyncio.Task[None]) -> None:
        self._running.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            self._failed.append(error)

    # ------------------------------------------------------------ watching

    async def _watch(self) -> None:
        """Reads what is committed from the beginning on; each record once, since its position is here."""
        names = {self._settings.topic(name): name for name in ("events", "questions", "results")}
        consumer: Any = AIOKafkaConsumer(
            *names,
            **self._settings.client_options(),
            isolation_level="read_committed",
            auto_offset_reset="earliest",
            enable_auto_commit=False,
        )
        await consumer.start()
        try:
            while True:
                with contextlib.suppress(KafkaError):
                    batches = await consumer.getmany(timeout_ms=200)
                    for place, records in batches.items():
                        for record in records:
                            if COPY not in dict(record.headers):
                                self._see(codec.decode(names[place.topic], record.value))
        finally:
            await consumer.stop()

    def _see(self, record: Record) -> None:
        match record:
            case Result():
                self.ended_s.setdefault(record.task, time.monotonic())
                partition = self.partition(record.task)
                self._latest_s[partition] = max(self._latest_s[partition], self.asked_s.get(record.task, 0.0))
            case Question(to="anybody"):
                value = answer_to(record.options[0].value)
                answer = Answer(
                    id=f"{record.task}/{record.step}", task=record.task, step=record.step, value=value
                )
                self._begin(self._send_later("signals", answer, record.task, copies=self._copies()))
            case Submitted(workflow="cancelled"):
                cancel = Cancel(id=f"{record.task}/cancel", task=record.task)
                self._begin(self._send_later("signals", cancel, record.task, copies=self._copies()))
            case Submitted(workflow="signalled"):
                for n in range(record.input):
                    signal = Signal(id=f"{record.task}/go-{n}", task=record.task, name="go", value=n)
                    self._begin(self._send_later("signals", signal, record.task, copies=self._copies()))
            case StepSucceeded() if self._random.random() < ANSWERED_TWICE:
                self._begin(self._answer_twice(record))
            case _:
                pass

    async def _answer_twice(self, record: StepSucceeded) -> None:
        await asyncio.sleep(self._random.uniform(0.0, 2.0))
        await self._send("events", record.task, codec.encode(record), [(COPY, b"1")])

    def _copies(self) -> int:
        return 1 + (self._random.random() < 0.2)
