"""Reads stretches of topics without a group: for programs that look, and leave no trace.

Only what is committed is seen. The end of a partition is its last stable offset, so that a reader which
reads to the end never waits for a transaction that is still open.
"""

import asyncio
from collections.abc import AsyncIterator, Generator, Iterable, Mapping
from contextlib import contextmanager
from types import TracebackType
from typing import Any, Self

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import (
    GroupAuthorizationFailedError,
    KafkaConnectionError,
    KafkaError,
    TopicAuthorizationFailedError,
)
from aiokafka.partitioner import DefaultPartitioner

from segue.streams.kafka.aiokafka_internals import client_of, given_values, read_any_header_name
from segue.streams.security.encryption import keys_of
from segue.streams.settings import Settings
from segue.topics import contracts
from segue.topics.envelope import Clear
from segue.topics.errors import BadInput, NotAllowed, Unavailable
from segue.topics.flow import Received

REQUEST_TIMEOUT_MS = 10_000
"""Somebody may be waiting at a terminal: aiokafka's own 40 s are for services."""

CATCH_UP_WAIT_MS = 50
"""Between looks at the position while only control records are left, which are never handed out."""

FETCH_WAIT_MS = 100
"""A fetch that waits for one partition keeps the next fetch of the others waiting: not for long."""

TOGETHER_S = 0.01
"""Records of several topics that arrive within this are put into the order of their time."""

CAUSAL_ORDER = (
    "tasks",
    "signals",
    "model-calls",
    "tool-calls",
    "checks",
    "failures",
    "tokens",
    "events",
    "questions",
    "delays",
    "status",
    "results",
    "dead-letters",
)
"""Breaks the tie between records of the same millisecond: causes first."""

Offsets = Mapping[TopicPartition, int]


class Reader:
    """An aiokafka consumer with no group, on as many partitions as each call names. One call at a time."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._keys = keys_of(settings)
        self._names = {settings.topic(topic.name): topic.name for topic in contracts.ALL}
        self._consumer: Any = None
        self._cluster: Any = None

    async def __aenter__(self) -> Self:
        read_any_header_name()
        self._consumer = AIOKafkaConsumer(
            **self._settings.client_options(),
            isolation_level="read_committed",
            enable_auto_commit=False,
            auto_offset_reset="earliest",
            request_timeout_ms=REQUEST_TIMEOUT_MS,
            fetch_max_wait_ms=FETCH_WAIT_MS,
            max_partition_fetch_bytes=4 * 1024 * 1024,
        )
        with broker_errors(self._settings):
            try:
                await self._consumer.start()
                # aiokafka's background tasks begin here: `stop` would fail on one that has not.
                await asyncio.sleep(0)
                # The public `topics()` has names alone, and asking by name makes Kafka create the topic.
                self._cluster = await client_of(self._consumer).fetch_all_metadata()
            except BaseException:
                await self._consumer.stop()
                raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await asyncio.shield(self._consumer.stop())  # cancelled halfway, it would look for brokers for ever

    def partitions(self, topic: str) -> list[TopicPartition]:
        """All partitions of the topic with this contract name. Raises `Unavailable` if it does not exist."""
        name = self._settings.topic(topic)
        found: set[int] | None = self._cluster.partitions_for_topic(name)
        if not found:
            raise Unavailable(
                f"no topic {name!r} on {self._settings.bootstrap}: a worker creates the "
                "topics when it starts; "
                "start one with `segue worker APP`"
            )
        return [TopicPartition(name, number) for number in sorted(found)]

    def exists(self, topic: str) -> bool:
        return bool(self._cluster.partitions_for_topic(self._settings.topic(topic)))

    def partition_of(self, topic: str, key: str) -> TopicPartition:
        """Where Kafka's default partitioner, of any language, puts it. Raises `BadInput` if it is no text."""
        by_hash: Any = DefaultPartitioner()
        try:
            place: TopicPartition = by_hash(key.encode(), self.partitions(topic), None)
        except UnicodeEncodeError:
            raise BadInput(f"{key!r} is not a task id: it can't be encoded as UTF-8") from None
        return place

    async def beginnings(self, partitions: Iterable[TopicPartition]) -> dict[TopicPartition, int]:
        with broker_errors(self._settings):
            offsets: dict[TopicPartition, int] = await self._consumer.beginning_offsets(
                self._assign(partitions)
            )
        return offsets

    async def ends(self, partitions: Iterable[TopicPartition]) -> dict[TopicPartition, int]:
        with broker_errors(self._settings):
            offsets: dict[TopicPartition, int] = await self._consumer.end_offsets(self._assign(partitions))
        return offsets

    async def at_time(self, partitions: Iterable[TopicPartition], at_ms: int) -> dict[TopicPartition, int]:
        """The offset of the first record at or after a time; the end where there is none."""
        asked = self._assign(partitions)
        with broker_errors(self._settings):
            found = await self._consumer.offsets_for_times(dict.fromkeys(asked, max(0, at_ms)))
            ends = await self._consumer.end_offsets(asked)
        return {p: found[p].offset if found.get(p) else ends[p] for p in asked}

    async def read(self, starts: Offsets, ends: Offsets, key: bytes | None = None) -> AsyncIterator[Received]:
        """The records of each partition from its start up to, not including, its end; of one key if given."""
        left = {p for p, start in starts.items() if start < ends[p]}
        if not left:
            return
        self._assign(left)
        with broker_errors(self._settings):
            for partition in left:
                self._consumer.seek(partition, starts[partition])
            while left:
                fetched = await self._consumer.getmany(*left, timeout_ms=CATCH_UP_WAIT_MS)
                for partition, records in fetched.items():
                    for record in records:
                        if record.offset < ends[partition] and key in (None, record.key):
                            received = self._received(record)
                            if _is_believed(received):
                                yield received
                left -= {p for p in left if await self._consumer.position(p) >= ends[p]}

    async def tail(self, starts: Offsets, key: bytes | None = None) -> AsyncIterator[Received]:
        """The records from each partition's start on, without end; nearly in the order of their time."""
        self._assign(starts)
        with broker_errors(self._settings):
            for partition, start in starts.items():
                self._consumer.seek(partition, start)
            while True:
                records = await self._batch(key, timeout_ms=1000)
                if records:
                    await asyncio.sleep(TOGETHER_S)
                    records += await self._batch(key, timeout_ms=0)
                for record in in_order(records):
                    yield record

    async def _batch(self, key: bytes | None, timeout_ms: int) -> list[Received]:
        fetched = await self._consumer.getmany(timeout_ms=timeout_ms)
        records = (record for records in fetched.values() for record in records)
        found = (self._received(record) for record in records if key in (None, record.key))
        return [received for received in found if _is_believed(received)]

    def _assign(self, partitions: Iterable[TopicPartition]) -> list[TopicPartition]:
        wanted = list(partitions)
        if self._consumer.assignment() != frozenset(wanted):
            self._consumer.assign(wanted)
        return wanted

    def _received(self, record: Any) -> Received:
        received = Received(
            self._names[record.topic],
            record.partition,
            record.offset,
            record.key,
            record.value,
            given_values(tuple(record.headers)),
            record.timestamp,
        )
        return received if self._keys is None else self._keys.opened(received)


def _is_believed(received: Received) -> bool:
    """A record in clear where keys are set is nobody's word; a dead letter is shown, whatever it is."""
    return received.topic == "dead-letters" or not isinstance(received.value, Clear)


def in_order(records: Iterable[Received]) -> list[Received]:
    """By time, and within a millisecond causes first."""
    rank = {name: number for number, name in enumerate(CAUSAL_ORDER)}
    return sorted(records, key=lambda r: (r.timestamp_ms, rank.get(r.topic, len(rank)), r.offset))


@contextmanager
def broker_errors(settings: Settings) -> Generator[None]:
    """What Kafka refuses or does not answer, as an error that says what to do."""
    try:
        yield
    except KafkaConnectionError:
        raise Unavailable(unreachable(settings)) from None
    except (TopicAuthorizationFailedError, GroupAuthorizationFailedError) as error:
        raise NotAllowed(
            f"the broker at {settings.bootstrap} denied access: {error}: "
            "`segue topics acls` prints the rights of each role"
        ) from None
    except KafkaError as error:
        raise Unavailable(f"the broker at {settings.bootstrap} returned an error: {error}") from None


def unreachable(settings: Settings) -> str:
    if settings.kafka is None:
        return (
            f"no broker runs here (looked at {settings.bootstrap}): start one with `segue broker start`, "
            "or name yours in SEGUE_KAFKA"
        )
    return f"no broker answers at {settings.bootstrap}: check that it runs, and SEGUE_KAFKA"
