"""Bad records against every stage in memory, internal topics included: whoever writes there may have bugs.

As on Kafka, with the stages' own runner around them: what it logs as a failed stage is a failed test.
"""

# pyright: reportPrivateUsage=false

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

import pytest
from aiokafka.structs import TopicPartition

from segue.processors.stages.conduct import Conduct
from segue.processors.stages.delay import Delays
from segue.processors.stages.intake import Intake
from segue.processors.stages.recover import Recover
from segue.streams.calls.calls import Calls
from segue.streams.engine.outbox import Outbox
from segue.streams.engine.pure_runner import Partition, PureStage
from segue.streams.executors.check import CheckExecutor
from segue.streams.executors.model import ModelExecutor
from segue.streams.executors.tool import ToolExecutor
from segue.streams.object_store.claim_check import at_once
from segue.streams.observability.metrics import Metrics
from segue.streams.settings import Settings
from segue.streams.state.store import Store
from segue.topics.errors import BadRecord
from segue.topics.flow import Received, Stage, State
from segue.topics.records import Submitted
from tests.builders import NOW_MS, received
from tests.corpus import APP
from tests.pipelines import pipeline
from tests.poison import poison

RECORDS = 2_500
"""For each topic: 20,000 in all."""

CALLED = 800
"""Of calls, which are made."""

SLOWEST_S = 2.0
"""No record may hold a stage up. Most take well under a millisecond; the machine may pause."""

LATER_MS = (NOW_MS + 10_000, NOW_MS + 10**10, 2**60)
"""When what is due is done: soon, in months, at the end of time."""

MAKE: dict[str, Callable[[State], Stage]] = {
    "intake": lambda _: Intake(APP),
    "conduct": lambda state: Conduct(APP, state, Random),
    "recover": lambda _: Recover(APP),
    "delay": Delays,
}


@dataclass
class Running:
    """A pure stage on one partition, as its runner has it; each record is committed by itself."""

    name: str
    path: Path
    settings: Settings = field(default_factory=Settings)
    metrics: Metrics = field(default_factory=lambda: Metrics(APP))
    changed: int = 0

    def __post_init__(self) -> None:
        stage = PureStage(self.name, MAKE[self.name])
        self.store = Store(self.path)
        changelog = TopicPartition(stage.changelog, 0) if stage.changelog else None
        self.partition = Partition(stage, self.store if changelog else None, changelog, keys=None)

    def handle(self, record: Received) -> Outbox:
        outbox = Outbox(self.settings)
        asyncio.run(self.partition.handle(record, outbox, NOW_MS))
        return self._commit(outbox)

    def tick(self, now_ms: int) -> Outbox:
        outbox = Outbox(self.settings)
        while asyncio.run(self.partition.tick(outbox, now_ms)):
            self._commit(outbox)
        return outbox

    def _commit(self, outbox: Outbox) -> Outbox:
        self.changed += 1
        changelog = self.partition.changelog
        self.partition.committed({changelog: self.changed} if changelog else {}, NOW_MS)
        self.metrics.published(self.name, outbox.published)
        return outbox


def _begun(task: str, workflow: str) -> Received:
    return received("events", Submitted(task=task, workflow=workflow, version=1, input="x", at_ms=NOW_MS))


@pytest.mark.parametrize(
    ("name", "topic"),
    [
        ("intake", "tasks"),
        ("intake", "signals"),
        ("conduct", "events"),
        ("recover", "failures"),
        ("delay", "delays"),
    ],
)
def test_no_record_fails_a_pure_stage(
    name: str, topic: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    stage = Running(name, tmp_path / "state")
    if name == "conduct":
        stage.handle(_begun("t", "sequence"))
        stage.handle(_begun("u", "questions"))
    for offset, bad in enumerate(poison(topic, RECORDS)):
        started_s = time.perf_counter()
        decided = stage.handle(bad.received(topic, offset))
        assert time.perf_counter() - started_s < SLOWEST_S, bad
        assert caplog.messages == [], bad
        letters = [each for each in decided.published if each.topic == "dead-letters"]
        assert len(letters) <= 1, bad
        for letter in letters:
            assert letter.value == (bad.value or b"")
    for now_ms in LATER_MS:
        stage.tick(now_ms)
    assert caplog.messages == []


CALLS: dict[str, Callable[[Metrics], Calls]] = {
    "model": lambda metrics: pipeline("model", APP, ModelExecutor(APP), metrics),
    "tool": lambda metrics: pipeline("tool", APP, ToolExecutor(APP), metrics),
    "check": lambda metrics: pipeline("check", APP, CheckExecutor(APP), metrics),
}


@pytest.mark.parametrize(
    ("name", "topic"), [("model", "model-calls"), ("tool", "tool-calls"), ("check", "checks")]
)
async def test_no_record_fails_an_effect_stage(name: str, topic: str) -> None:
    metrics = Metrics(APP)
    calls = CALLS[name](metrics)
    await calls.executor.start()
    for offset, bad in enumerate(poison(topic, CALLED)):
        record = bad.received(topic, offset)
        outbox = Outbox(Settings())
        started_s = time.perf_counter()
        try:
            job = calls.job(record, at_once)
        except BadRecord:
            continue
        taken_s = time.perf_counter() - started_s
        decision = await job.perform()
        started_s = time.perf_counter() - taken_s
        outbox.add_outcome(decision, record, job.instead, name, NOW_MS)
        assert time.perf_counter() - started_s < SLOWEST_S, bad
        assert len(outbox.published) == 1, bad
        metrics.published(name, outbox.published)
    await calls.executor.stop()
