"""The values between a stage and its runner: the received record, and the stage's decision.

A stage gets a `Received` and returns a `Decision`; it never uses Kafka, a clock or a disk. The runners in
`streams/`, and the in-memory stages of `streams/testing`, each carry out decisions in their own way.
"""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

from segue.topics.records import Origin, Record

Headers = tuple[tuple[str, bytes], ...]

TRACE = ("traceparent", "tracestate")
"""Headers of W3C Trace Context: they are copied from a record to the records that it causes."""

TENANT = "segue-tenant"
"""The header with the tenant, also copied. It is not encrypted, and decides the encryption key."""

PASSED_ON = (*TRACE, TENANT)

MOVED = "segue-moved"
"""A header of a call on another partition than its task: its results go to the task's partition."""


TOLD = "segue-told"
"""A header of a dead letter whose step has failed, so that the record is of no use any more."""

ORIGIN = "segue-origin"
"""A header of a record that was sent again: its original place, as `topic/partition/offset`."""

PLACE = re.compile(rb"([a-z-]{1,100})/(\d{1,10})/(\d{1,19})", re.ASCII)


class Received(NamedTuple):
    """A record as it was on its topic. `topic` is the contract's name, without the prefix."""

    topic: str
    partition: int
    offset: int
    key: bytes | None
    value: bytes | None
    headers: Headers
    timestamp_ms: int


TRACE_VALUE = re.compile(rb"[\x20-\x7e]{1,512}")
"""The values that are allowed: they may come from any program, and the state keeps each on one line."""


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
    """Return the record's original place: for a copy that was sent again, the place of the original."""
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

    `objects` are the objects that it refers to: they must be in the object store before it is committed.
    """

    topic: str
    key: str
    value: Record | bytes | None
    headers: Headers = ()
    partition: int | None = None
    """None: the partition of its key."""
    objects: tuple[StoredObject, ...] = ()


class Write(NamedTuple):
    """A change of the stage's state on its changelog: a value, or None to delete."""

    key: bytes
    value: bytes | None


class Plain(Write):
    """A change that contains no data of records: it is not encrypted when other changes are."""

    __slots__ = ()


@dataclass(slots=True)
class Decision:
    """A stage's decision: it is published and written in one transaction with the offset of its cause."""

    publish: list[Publish] = field(default_factory=list[Publish])
    write: list[Write] = field(default_factory=list[Write])
    tenant: str | None = None
    """The tenant; "" is no tenant. None: the tenant of the record that caused the decision."""


class State(Protocol):
    """A stage's state on one partition: ordered by key, with the writes of earlier decisions applied."""

    def get(self, key: bytes) -> bytes | None: ...

    def scan(self, prefix: bytes, start: bytes = b"") -> Iterator[tuple[bytes, bytes]]:
        """Yield all entries whose key begins with `prefix`, ascending by key, from the key `start` on.

        A caller that deletes entries from the front should pass `start`: deleted entries cost time until
        compaction.
        """
        ...


class Stage(Protocol):
    """A pure stage on one partition.

    `handle` never raises because of a record's content; a record that can't be processed becomes a dead
    letter. `tick` is called when `due_ms` (None: never) has passed. A stage without timers and memory does
    not override these.
    """

    def handle(self, record: Received, now_ms: int) -> Decision: ...

    def due_ms(self) -> int | None:
        return None

    def tick(self, now_ms: int) -> Decision:
        return Decision()

    def close(self) -> None:
        """Release what the stage keeps in memory, when the stage is discarded."""
        return


def dead_letter(record: Received, stage: str, reason: str, now_ms: int, task: str | None = None) -> Publish:
    """Return a dead letter: the record's own bytes and headers, with reason and place in `segue-` headers."""
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
