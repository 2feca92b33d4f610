"""The stages in memory, with keys: what Kafka would hold is sealed as the product's outbox seals it."""

import asyncio
import random
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from aiokafka.structs import TopicPartition

from segue.processors.stages.conduct import Conduct
from segue.processors.stages.delay import Delays
from segue.streams.engine.outbox import Outbox
from segue.streams.engine.tenants import Keep, Tenants
from segue.streams.security.encryption import Keys, OpenedState, keys_of
from segue.streams.settings import Settings
from segue.topics.envelope import is_sealed, unpack
from segue.topics.flow import Decision, Plain, Received, Write
from tests.corpus import APP, MODELS
from tests.driver import Driver


class Sealed(Driver):
    """Tasks are of the tenant `acme`. The requests and signals say so in no header, and stand in clear."""

    def __init__(self, file: Path, *, looks_up: bool = True, app: Any = APP, **options: Any) -> None:
        self.settings = Settings(encryption_keys=file, partitions=1)
        keys = keys_of(self.settings)
        assert keys is not None
        self.keys: Keys = keys
        self.tenants = Tenants(keys, self.follow("status"), self.follow("tasks")) if looks_up else None
        self.writes: list[tuple[str, Write]] = []
        super().__init__(app, MODELS, **options)

    def submit(self, workflow: str, value: Any = None, task: str = "t") -> None:
        self.produce("tasks", {"workflow": workflow, "input": value, "id": task, "tenant": "acme"}, task)

    def restart(self, app: Any = None) -> None:
        super().restart(app)
        self._stages["delay"] = Delays(OpenedState(self.keys, "delay-state", self.state["delay"]))

    def conduct(self, *, silent: bool = False) -> Conduct:
        state = OpenedState(self.keys, "conduct-state", self.state["conduct"])
        return Conduct(self.app, state, random.Random, self.limits, references=self.objects, silent=silent)

    def records(self, topic: str, task: str | None = None) -> list[Any]:
        clear, self.logs[topic] = self.logs[topic], [self.keys.opened(each) for each in self.logs[topic]]
        try:
            return super().records(topic, task)
        finally:
            self.logs[topic] = clear

    def keys_used(self) -> dict[str, set[str]]:
        """By topic, the ids of the keys under which its records stand; `clear` for what is not sealed."""
        used: dict[str, set[str]] = {}
        for topic, log in self.logs.items():
            if topic not in ("tasks", "signals"):
                used[topic] = {key_id(record.value) for record in log if record.value}
        for changelog, write in self.writes:
            if write.value and not isinstance(write, Plain):
                used.setdefault(changelog, set()).add(key_id(write.value))
        return {topic: ids for topic, ids in used.items() if ids}

    def follow(self, topic: str) -> Callable[[Keep], "_LogInMemory"]:
        return partial(_LogInMemory, self, topic)

    def _decide(self, name: str, record: Received) -> Decision:
        opened = self.keys.opened(record)
        if name == "intake" and self.tenants is not None:
            place = TopicPartition(record.topic, 0)
            [[opened]] = asyncio.run(self.tenants.named({place: [opened]})).values()
        self._cause = opened
        return super()._decide(name, opened)

    def _commit(self, name: str, decision: Decision, topic: str | None = None) -> None:
        outbox = Outbox(self.settings)
        changelog = TopicPartition(f"{name}-state", 0)
        writes = outbox.add(decision, self._cause if topic else None, changelog)
        self.writes += [(changelog.topic, write) for write in writes]
        for record in outbox.records:
            if not record.is_state:
                self._append(record.to.topic, record.key, record.value, tuple(record.headers))
        self.state[name].apply(writes)
        self.acts.append(decision)
        if topic:
            self.offsets[topic] += 1


class _LogInMemory:
    def __init__(self, driver: Sealed, topic: str, keep: Keep) -> None:
        self._driver = driver
        self._topic = topic
        self._keep = keep

    async def catch_up(self, task: str | None = None) -> None:
        for record in self._driver.logs[self._topic]:
            self._keep(record)

    async def close(self) -> None: ...


def key_id(value: bytes | None) -> str:
    envelope = unpack(value) if value is not None and is_sealed(value) else None
    return envelope.key_id if envelope is not None else "clear"
