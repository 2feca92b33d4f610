"""All stages in memory: pipes records through them, advances a clock, crashes between any two records.

They keep what Kafka would: a log for each topic, each stage's committed offset and state. One act is
one stage handling one record, or doing what is due. A stage's memory is dropped at a crash and built anew
from what was committed. Under `exactly_once` a decision's records, state and offset are committed together or
not at all; under `at_least_once` a crash may leave some of its records behind.
"""

import logging
import random
from abc import ABC, abstractmethod
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from pydantic_core import PydanticSerializationError, to_json

from segue.processors.app.app import App
from segue.processors.limits import LIMITS, Limits
from segue.processors.stages.conduct import Conduct
from segue.processors.stages.delay import Delays
from segue.processors.stages.intake import Intake
from segue.processors.stages.put_aside import handled
from segue.processors.stages.recover import Recover
from segue.streams.object_store.store import Objects
from segue.streams.testing.determinism_check import ensure_same
from segue.topics import codec
from segue.topics.contracts import BY_NAME
from segue.topics.errors import in_words
from segue.topics.flow import Decision, Headers, Publish, Received, Stage, Write
from segue.topics.records import Record

log = logging.getLogger(__name__)

START_MS = 1_790_000_000_000
"""2026-09-21 14:13:20 UTC: every run begins at the same time."""

READS: Mapping[str, tuple[str, ...]] = {
    "intake": ("tasks", "signals"),
    "conduct": ("events",),
    "model": ("model-calls",),
    "tool": ("tool-calls",),
    "check": ("checks",),
    "recover": ("failures",),
    "delay": ("delays",),
}


class Crash(Exception):
    """The process died here."""


@dataclass
class Memory:
    """A stage's state on its one partition, as `segue.topics.flow.State`."""

    entries: dict[bytes, bytes] = field(default_factory=dict[bytes, bytes])

    def get(self, key: bytes) -> bytes | None:
        return self.entries.get(key)

    def scan(self, prefix: bytes, start: bytes = b"") -> Iterator[tuple[bytes, bytes]]:
        return iter(sorted((k, v) for k, v in self.entries.items() if k.startswith(prefix) and k >= start))

    def apply(self, writes: Iterable[Write]) -> None:
        for key, value in writes:
            if value is None:
                self.entries.pop(key, None)
            else:
                self.entries[key] = value


class Stages(ABC):
    """Seven stages, one partition each.

    `crashes` are acts (counted from 0) to crash in, with how many of the act's records were published before
    (none under `exactly_once`). With `forgets` each event is decided twice: see `determinism_check`.
    """

    def __init__(
        self,
        app: App,
        *,
        crashes: Mapping[int, int] | None = None,
        exactly_once: bool = True,
        forgets: bool = False,
        limits: Limits = LIMITS,
        objects: Objects | None = None,
        now_ms: int = START_MS,
    ) -> None:
        self.app = app
        self.crashes = crashes or {}
        self.exactly_once = exactly_once
        self.forgets = forgets
        self.limits = limits
        self.objects = objects
        self.now_ms = now_ms
        self.acts: list[Decision] = []
        self.logs: dict[str, list[Received]] = {name: [] for name in BY_NAME}
        self.offsets: dict[str, int] = defaultdict(int)
        self.state: dict[str, Memory] = defaultdict(Memory)
        self._conduct = self.conduct()
        self.restart()

    @abstractmethod
    def _effect(self, record: Received) -> Decision:
        """What comes of a call, or of a check."""
        ...

    # ------------------------------------------------------------ what happens to them

    def produce(self, topic: str, value: Any, key: str | None = "t", headers: Headers = ()) -> None:
        """A record from outside: bytes as they are, anything else as JSON."""
        body = value if isinstance(value, bytes) else to_json(value)
        self._append(topic, key.encode() if key is not None else None, body, headers)

    def act(self) -> bool:
        """One act of one stage, which may be its last before a crash. False if there is nothing to do now."""
        return self._act(self._order())

    def hear(self) -> None:
        """What came from outside reaches the tasks that it is for; what they ask for then waits."""
        while self._act(("intake", "conduct")):
            pass

    def due_ms(self) -> int | None:
        """When the next delay ends."""
        return self._stages["delay"].due_ms()

    def restart(self, app: App | None = None) -> None:
        """All stages anew from what was committed, with other code if given."""
        self.app = app or self.app
        self._conduct.close()
        self._conduct = self.conduct()
        self._stages: dict[str, Stage] = {
            "intake": Intake(self.app, self.limits),
            "conduct": self._conduct,
            "recover": Recover(self.app),
            "delay": Delays(self.state["delay"]),
        }

    def conduct(self, *, silent: bool = False) -> Conduct:
        """One that remembers nothing but what was committed."""
        given = (self.app, self.state["conduct"], random.Random, self.limits)
        return Conduct(*given, references=self.objects, silent=silent)

    # ------------------------------------------------------------ what is there to see

    def records(self, topic: str, task: str | None = None) -> list[Any]:
        records = [codec.decode(topic, r.value) for r in self.logs[topic] if r.value is not None]
        return [record for record in records if task is None or record.task == task]

    def reasons(self) -> list[str]:
        """Why each dead letter is one."""
        return [dict(record.headers)["segue-reason"].decode() for record in self.logs["dead-letters"]]

    # ------------------------------------------------------------ acts

    def _order(self) -> Iterable[str]:
        return READS

    def _act(self, among: Iterable[str]) -> bool:
        try:
            return any(self._tick(stage) or self._handle(stage) for stage in among)
        except Crash:
            self.restart()
            return True

    def _tick(self, name: str) -> bool:
        stage = self._stages.get(name)
        due_ms = stage.due_ms() if stage else None
        if stage is None or due_ms is None or due_ms > self.now_ms:
            return False
        try:
            decision = stage.tick(self.now_ms)
        except Exception as bug:  # noqa: BLE001 - the product's stages put it aside as well
            decision = self._put_aside(name, stage, None, bug)
        self._commit(name, decision)
        return True

    def _handle(self, name: str) -> bool:
        for topic in READS[name]:
            offset = self.offsets[topic]
            if offset < len(self.logs[topic]):
                record = self.logs[topic][offset]
                self._commit(name, self._fit(name, record, self._decide(name, record)), topic)
                return True
        return False

    def _fit(self, name: str, record: Received, decision: Decision) -> Decision:
        """The decision; what follows in its place where a record of it can't be written."""
        try:
            for publish in decision.publish:
                if isinstance(publish.value, Record):
                    codec.encode(publish.value)
        except PydanticSerializationError as error:
            return self._put_aside(name, self._stages.get(name), record, error)
        return decision

    def _decide(self, name: str, record: Received) -> Decision:
        stage = self._stages.get(name)
        if stage is None:
            return self._effect(record)
        try:
            decision = stage.handle(record, self.now_ms)
        except Exception as bug:  # noqa: BLE001 - the product's stages put it aside as well
            return self._put_aside(name, stage, record, bug)
        if self.forgets and stage is self._conduct:
            self._decide_again(record, decision)
        return decision

    def _put_aside(self, name: str, stage: Stage | None, record: Received | None, bug: Exception) -> Decision:
        log.exception("stage %s failed: the record goes to dead letters", name)
        decision = handled(stage, name, record, in_words(bug), self.now_ms)
        if decision is None:
            raise bug
        return decision

    def _decide_again(self, record: Received, decision: Decision) -> None:
        anew = self.conduct(silent=True)
        anew.recall(decision)
        try:
            ensure_same((record.key or b"").decode(), decision, anew.handle(record, self.now_ms))
        finally:
            anew.close()

    def _commit(self, name: str, decision: Decision, topic: str | None = None) -> None:
        number = len(self.acts)
        self.acts.append(decision)
        for stored in (stored for publish in decision.publish for stored in publish.objects):
            assert self.objects is not None
            self.objects.keep(stored)
        if number in self.crashes:
            left_behind = 0 if self.exactly_once else self.crashes[number]
            for publish in decision.publish[:left_behind]:
                self._publish(publish)
            raise Crash
        for publish in decision.publish:
            self._publish(publish)
        self.state[name].apply(decision.write)
        if topic:
            self.offsets[topic] += 1

    def _publish(self, publish: Publish) -> None:
        value = codec.encode(publish.value) if isinstance(publish.value, Record) else publish.value
        self._append(publish.topic, publish.key.encode(), value, publish.headers)

    def _append(self, topic: str, key: bytes | None, value: bytes | None, headers: Headers) -> None:
        log = self.logs[topic]
        log.append(Received(topic, 0, len(log), key, value, headers, self.now_ms))
