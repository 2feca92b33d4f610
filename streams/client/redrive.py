"""Feeds records to their topics again: a range of a topic, or dead letters once their cause is mended.

The bytes, key and partition stay the same; a header `segue-replayed-from` says where the copy was taken from,
and `segue-origin` where the record stood first. By that it is known again: a copy that fails again is a new
dead letter of the same record, and only the newest is sent the next time.
"""

from bisect import bisect_right
from collections.abc import AsyncGenerator, AsyncIterable, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple

from aiokafka import AIOKafkaProducer, TopicPartition

from segue.streams.client.dead_letters import place_of
from segue.streams.kafka.reader import REQUEST_TIMEOUT_MS, Offsets, Reader, broker_errors
from segue.streams.security.encryption import keys_of
from segue.streams.settings import Settings
from segue.topics import contracts
from segue.topics.errors import BadInput, UnknownName
from segue.topics.flow import ORIGIN, TENANT, Headers, Received, first_place
from segue.topics.records import Origin

REPLAYED_FROM = "segue-replayed-from"
UNACKNOWLEDGED_MAX = 500


class Copy(NamedTuple):
    """A record to feed again; without a `partition` its key decides."""

    topic: str
    partition: int | None
    key: bytes | None
    value: bytes | None
    headers: Headers


@dataclass(frozen=True)
class Range:
    """What to feed again. A bound is an offset, or a time as a `datetime`; None: as far as the topic goes."""

    topic: str
    begin: int | datetime | None = None
    end: int | datetime | None = None
    partition: int | None = None
    task: str | None = None


def parse_bound(text: str | None) -> int | datetime | None:
    """An offset, or an ISO 8601 time: local unless it names its zone."""
    if text is None:
        return None
    if text.isdecimal():
        return int(text)
    try:
        return datetime.fromisoformat(text).astimezone()
    except ValueError:
        raise BadInput(
            f"{text!r} is neither an offset (12345) nor an ISO time (2026-11-23T14:00:00)"
        ) from None


async def records_of(settings: Settings, wanted: Range) -> list[Received]:
    """Return all records of the range at once: for ranges that are small. Raises `UnknownName`."""
    return [record async for record in each_record(settings, wanted)]


async def each_record(settings: Settings, wanted: Range) -> AsyncGenerator[Received]:
    """Yield the records of the range, up to the end that the topic has now at most. Raises `UnknownName`."""
    if wanted.topic not in contracts.BY_NAME:
        raise UnknownName(f"there is no topic {wanted.topic!r}: choose one of {', '.join(contracts.BY_NAME)}")
    async with Reader(settings) as reader:
        partitions = _partitions(reader, wanted)
        first, last = await reader.beginnings(partitions), await reader.ends(partitions)
        starts = await _offsets(reader, partitions, wanted.begin, first)
        ends = await _offsets(reader, partitions, wanted.end, last)
        bounds = _within(starts, first, last), _within(ends, first, last)
        key = wanted.task.encode() if wanted.task else None
        async for record in reader.read(*bounds, key):
            yield record


def _partitions(reader: Reader, wanted: Range) -> list[TopicPartition]:
    every = reader.partitions(wanted.topic)
    found = [p for p in every if wanted.partition in (None, p.partition)]
    if not found:
        raise UnknownName(
            f"{wanted.topic} has no partition {wanted.partition}: its partitions are 0 to {len(every) - 1}"
        )
    return found


async def _offsets(
    reader: Reader, partitions: list[TopicPartition], bound: int | datetime | None, default: Offsets
) -> Offsets:
    match bound:
        case None:
            return default
        case int():
            return dict.fromkeys(partitions, bound)
        case datetime():
            return await reader.at_time(partitions, round(bound.timestamp() * 1000))


def _within(offsets: Offsets, first: Offsets, last: Offsets) -> Offsets:
    return {place: min(max(offset, first[place]), last[place]) for place, offset in offsets.items()}


class Once:
    """Says of each record of a topic, in the order of each partition, whether it is the first of its copies.

    Of records that are no copies it remembers the stretches between copies, and of copies without their
    record the place of that: little, where few of many records are copies.
    """

    def __init__(self) -> None:
        self._stretches: dict[int, list[tuple[int, int]]] = {}
        self._copied: set[tuple[int, int]] = set()
        self._open: set[int] = set()
        """Partitions whose last record was no copy."""

    def __call__(self, record: Received) -> bool:
        first = first_place(record)
        place = (first.partition, first.offset)
        if place == (record.partition, record.offset):
            self._passed(*place)
            return place not in self._copied
        self._open.discard(record.partition)
        is_new = place not in self._copied and not self._has_passed(*place)
        if is_new:
            self._copied.add(place)
        return is_new

    def _passed(self, partition: int, offset: int) -> None:
        stretches = self._stretches.setdefault(partition, [])
        begin = stretches.pop()[0] if partition in self._open else offset
        stretches.append((begin, offset))
        self._open.add(partition)

    def _has_passed(self, partition: int, offset: int) -> bool:
        stretches = self._stretches.get(partition, [])
        after = bisect_right(stretches, offset, key=lambda stretch: stretch[0])
        return after > 0 and offset <= stretches[after - 1][1]


def again(record: Received) -> Copy:
    """Return a copy of the record, to the same place."""
    headers = _marked(record, first_place(record), record.headers)
    return Copy(record.topic, record.partition, record.key, record.value, headers)


def back_to_its_topic(letter: Received) -> Copy:
    """A dead letter, to the topic that its record came from. Raises `BadInput` if it does not say which."""
    headers = {name: value.decode(errors="replace") for name, value in letter.headers}
    topic = headers.get("segue-topic", "")
    if topic not in contracts.BY_NAME:
        raise BadInput(
            f"dead letter {letter.partition}:{letter.offset} has no header that names its original topic"
        )
    kept = tuple(h for h in letter.headers if h[0] == TENANT or not h[0].startswith("segue-"))
    return Copy(topic, None, letter.key, letter.value, _marked(letter, place_of(letter), kept))


def _marked(record: Received, origin: Origin, headers: Headers) -> Headers:
    kept = tuple(header for header in headers if header[0] not in (REPLAYED_FROM, ORIGIN))
    source = f"{record.topic}/{record.partition}/{record.offset}"
    first = f"{origin.topic}/{origin.partition}/{origin.offset}"
    return (*kept, (ORIGIN, first.encode()), (REPLAYED_FROM, source.encode()))


async def feed(settings: Settings, copies: Iterable[Copy] | AsyncIterable[Copy]) -> int:
    """Publish them in their order, wait until all are safe, and return how many they were.

    Of those that come one by one only some are in memory at a time.
    """
    count, keys = 0, keys_of(settings)
    async with _producer(settings) as producer:
        pending: list[Any] = []
        async for copy in copies if isinstance(copies, AsyncIterable) else _each(copies):
            value, headers = copy.value, list(copy.headers)
            if keys is not None:
                value, headers = keys.sealed(copy.topic, copy.key, value, headers)
            sent = await producer.send(
                settings.topic(copy.topic), value, key=copy.key, partition=copy.partition, headers=headers
            )
            pending.append(sent)
            count += 1
            if len(pending) == UNACKNOWLEDGED_MAX:
                await _acknowledged(pending)
        await _acknowledged(pending)
    return count


async def _each(copies: Iterable[Copy]) -> AsyncGenerator[Copy]:
    for copy in copies:
        yield copy


async def _acknowledged(pending: list[Any]) -> None:
    for sent in pending:
        await sent
    pending.clear()


@asynccontextmanager
async def _producer(settings: Settings) -> AsyncGenerator[Any]:
    producer: Any = AIOKafkaProducer(
        **settings.client_options(),
        enable_idempotence=True,
        request_timeout_ms=REQUEST_TIMEOUT_MS,
        max_request_size=contracts.DEAD_LETTER_BYTES_MAX,
    )
    with broker_errors(settings):
        try:
            await producer.start()
            yield producer
        finally:
            await producer.stop()
