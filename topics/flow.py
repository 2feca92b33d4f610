"""The plain values that pass between a stage and whatever runs it: what came in, what goes out.

A stage is handed a `Received` and returns a `Decision`; it never touches Kafka, a clock or a disk. The
runners in `streams/` and the stages in memory of `streams/testing` carry out decisions in their own ways.
"""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

from segue.topics.records import Origin, Record

Headers = tuple[tuple[str, bytes], ...]

TRACE = ("traceparent", "tracestate")
"""W3C Trace Context: passed on from a record to what it causes."""

TENANT = "segue-tenant"
"""On whose behalf: passed on as well. It stays clear where records are encrypted, and says with whose key."""

PASSED_ON = (*TRACE, TENANT)

MOVED = "segue-moved"
"""On a call that stands on another partition than its task: what comes of it goes where its task is."""


TOLD = "segue-told"
"""On a dead letter: the record's step was failed, so that the record is of no use any more."""

ORIGIN = "segue-origin"
"""On a record that was sent again: where it stood first, as `topic/partition/offset`."""

PLACE = re.compile(rb"([a-z-]{1,100})/(\d{1,10})/(\d{1,19})", re.ASCII)


class Received(NamedTuple):
    """A record as it stood on its topic. `topic` is the contract's name, without the prefix."""

    topic: str
    partition: int
    offset: int
    key: bytes | None
    value: bytes | None
    headers: Headers
    timestamp_ms: int


TRACE_VALUE = re.compile(rb"[\x20-\x7e]{1,512}")
"""What may stand in them: they are kept in state a line each, and come from anywhere."""


def trace_of(record: Received) -> Headers:
    return passed_on(record.headers)


def passed_on(headers: Headers) -> Headers:
    """Those that go from a record to what it causes."""
    return tuple(header for header in headers if header[0] in PASSED_ON and _is_passable(*header))


def _is_passable(name: str, value: bytes) -> bool:
    return TRACE_VALUE.fullmatch(value) is not None if name in TRACE else b"\n" not in value


def tenant_in(headers: Iterable[tuple[str, bytes]]) -> str | None:
    return next((value.decode(errors="replace") for name, value in headers if name == TENANT), None)


def of_tenant(tenant: str) -> Headers:
    return ((TENANT, tenant.encode()),) if tenant else ()


def is_moved(record: Received) -> bool:
    return moved_in(record.headers)


def moved_in(headers: Headers) -> bool:
    return any(name == MOVED for name, _ in headers)


def first_place(record: Received) -> Origin:
    """Return where the record stood first: of a copy that was sent again, where the original stood."""
    for name, value in record.headers:
        if name == ORIGIN and (found := PLACE.fullmatch(value)) and found[1].decode() == record.topic:
            return Origin(topic=record.topic, partition=int(found[2]), offset=int(found[3]))
    return Origin(topic=record.topic, partition=record.partition, offset=record.offset)


class StoredObject(NamedTuple):
    """Bytes for the object store, to be sealed with the key of that id. `object` is their name there."""

    object: str
    key: str | None
    tenant: str | None
    body: bytes


class Publish(NamedTuple):
    """A record to publish. `value` is a `Record`, bytes for the dead letters, or None to delete the key.

    `objects` are what it refers to: they must be in the object store before it is committed.
    """

    topic: str
    key: str
    value: Record | bytes | None
    headers: Headers = ()
    partition: int | None = None
    """None: where the records of its key stand."""
    objects: tuple[StoredObject, ...] = ()


class Write(NamedTuple):
    """A change of the stage's state on its changelog: a value, or None to delete."""

    key: bytes
    value: bytes | None


class Plain(Write):
    """A change that says nothing of what records hold: it stays readable where others are encrypted."""

    __slots__ = ()


@dataclass(slots=True)
class Decision:
    """What a stage decided: published and written in one transaction with the offset of what caused it."""

    publish: list[Publish] = field(default_factory=list[Publish])
    write: list[Write] = field(default_factory=list[Write])
    tenant: str | None = None
    """On whose behalf; "" is nobody's. None: as the record says that caused it."""


class State(Protocol):
    """A stage's state on one partition: ordered by key, with the writes of earlier decisions applied."""

    def get(self, key: bytes) -> bytes | None: ...

    def scan(self, prefix: bytes, start: bytes = b"") -> Iterator[tuple[bytes, bytes]]:
        """All entries whose key begins with `prefix`, ascending by key, from the key `start` on.

        Whoever deletes from the front says where it goes on: what was deleted costs until it is compacted.
        """
        ...


class Stage(Protocol):
    """A pure stage on one partition.

    `handle` never raises for what a record holds; what can't be processed becomes a dead letter.
    `tick` is called when `due_ms` (None: never) has passed. A stage that waits for nothing and holds nothing
    says nothing of either.
    """

    def handle(self, record: Received, now_ms: int) -> Decision: ...

    def due_ms(self) -> int | None:
        return None

    def tick(self, now_ms: int) -> Decision:
        return Decision()

    def close(self) -> None:
        """The stage is thrown away: let go of what it holds in memory."""
        return


def dead_letter(record: Received, stage: str, reason: str, now_ms: int, task: str | None = None) -> Publish:
    """The record's own bytes and headers, with why and where in headers that begin with `segue-`."""
    key = task or (record.key or b"").decode(errors="replace")
    why: Headers = (
        ("segue-reason", reason.encode(errors="backslashreplace")),
        ("segue-stage", stage.encode()),
        ("segue-topic", record.topic.encode()),
        ("segue-partition", str(record.partition).encode()),
        ("segue-offset", str(record.offset).encode()),
        ("segue-at-ms", str(now_ms).encode()),
    )
    if task is not None:
        why += (("segue-task", task.encode()),)
    kept = tuple(h for h in record.headers if h[0] in (TENANT, ORIGIN) or not h[0].startswith("segue-"))
    return Publish("dead-letters", key, record.value or b"", kept + why)
