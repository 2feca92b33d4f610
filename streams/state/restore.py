"""Makes the stores of a stage whole again from its changelog, and hands out each as soon as it is.

    open all ─▶ those that are whole, at once ─▶ the others one after the other, the shortest way first

One after the other, because all at once would have every partition wait for the end of the last: reading is
bound by this process, not by Kafka. A partition whose end an open transaction holds back lets the others go
first.
"""

# aiokafka is annotated only in part.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false

import asyncio
import logging
import time
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from aiokafka import AIOKafkaConsumer
from aiokafka.structs import TopicPartition

from segue.processors.formatting import duration
from segue.streams.kafka.aiokafka_internals import client_of
from segue.streams.kafka.broker_clock import now_ms
from segue.streams.kafka.topic_ids import topic_id
from segue.streams.security.encryption import CLEAR_ENTRY, keys_of
from segue.streams.settings import Settings
from segue.streams.state.store import Changelog, Store, fitting_store

log = logging.getLogger(__name__)

RECORDS_MAX = 5_000
"""Applied in one write batch: the event loop is held for 20 ms."""

FETCH_BYTES_MAX = 4 * 1024 * 1024
"""Kafka's usual 1 MB is 4,000 records: a round trip for each batch."""

POLL_MS = 300
FETCH_WAIT_MS = 100
"""A fetch that waits keeps the next partition's waiting: if it took as long as a poll, none would get on."""

TOLD_EVERY_S = 5.0

Report = Callable[[int, int], None]
"""Told of a partition how many changelog records remain to be read."""


def untold(number: int, remaining: int) -> None:
    """For those who don't ask."""


Rescue = Callable[[Path, TopicPartition, Changelog], Awaitable[Changelog]]
"""Asked about a store whose changelog is empty. Returns the changelog as it is then."""


async def left_empty(_: Path, place: TopicPartition, found: Changelog) -> Changelog:  # noqa: ARG001
    """For those who only read."""
    return found


async def open_restored(
    settings: Settings,
    changelog: str,
    paths: Mapping[int, Path],
    report: Report = untold,
    rescue: Rescue = left_empty,
) -> AsyncGenerator[tuple[int, Store]]:
    """Opens the stores of the partitions in `paths` and yields each as soon as it is whole.

    Call it when no transaction of an earlier owner can commit any more: what stands on the changelog by
    now is all there will be. Records of open transactions are waited for. The caller closes what it gets.
    """
    begun_ms, topic = now_ms(), settings.topic(changelog)
    changelogs = await _changelogs(settings, changelog, paths)
    believed = Believed(settings, changelog)
    behind: dict[int, Store] = {}
    try:
        for number, place in ((number, TopicPartition(topic, number)) for number in paths):
            found = changelogs[number]
            if found.end == 0 and await asyncio.to_thread(paths[number].exists):
                found = changelogs[number] = await rescue(paths[number], place, found)
            store = await opened(paths[number], found)
            report(number, found.end - store.offset)
            if store.offset == found.end:
                yield number, store
            else:
                behind[number] = store
        if behind:
            async for number in _caught_up(settings, topic, changelogs, behind, begun_ms, report, believed):
                yield number, behind.pop(number)
    finally:
        for store in behind.values():
            store.close()


async def opened(path: Path, changelog: Changelog) -> Store:
    """The store at `path`, a new one if it does not fit. Raises `Unavailable`.

    Opened in a thread, which can't be cancelled: a store that nobody waits for any more is closed again.
    """
    opening = asyncio.ensure_future(asyncio.to_thread(fitting_store, path, changelog, now_ms()))
    try:
        return await asyncio.shield(opening)
    except asyncio.CancelledError:
        await asyncio.wait([opening])
        if opening.exception() is None:
            opening.result().close()
        raise


async def _caught_up(
    settings: Settings,
    topic: str,
    changelogs: Mapping[int, Changelog],
    behind: Mapping[int, Store],
    begun_ms: int,
    report: Report,
    believed: "Believed",
) -> AsyncIterator[int]:
    isolation = "read_committed" if settings.guarantee == "exactly_once" else "read_uncommitted"
    remaining = {number: changelogs[number].end - store.offset for number, store in behind.items()}
    progress = RestoreProgress(topic, sum(remaining.values()))
    left = deque(sorted(remaining, key=lambda number: remaining[number]))
    async with _reader(settings, isolation) as reader:
        while left:
            number = left[0]
            store = behind[number]
            if not await _advanced(reader, TopicPartition(topic, number), store, begun_ms, believed):
                left.rotate(-1)
                continue
            remaining[number] = max(0, changelogs[number].end - store.offset)
            report(number, remaining[number])
            progress.tell(sum(remaining.values()))
            if not remaining[number]:
                left.popleft()
                yield number
    progress.end()


async def _advanced(
    reader: AIOKafkaConsumer, place: TopicPartition, store: Store, begun_ms: int, believed: "Believed"
) -> bool:
    """Applies the next records; False if there are none yet."""
    if reader.assignment() != {place}:
        reader.assign([place])
        reader.seek(place, store.offset)
    batch = await reader.getmany(timeout_ms=POLL_MS, max_records=RECORDS_MAX)
    # Markers of transactions have offsets too: the position tells more than the last record.
    offset = await reader.position(place)
    if offset == store.offset:
        return False
    writes = [(record.key or b"", record.value) for record in batch.get(place, []) if believed(record)]
    store.restore(writes, store.mark._replace(offset=offset, at_ms=begun_ms))
    return True


class Believed:
    """Says of each entry of a changelog whether it counts; where keys are set, one in clear may be forged."""

    def __init__(self, settings: Settings, changelog: str) -> None:
        self._keys = keys_of(settings)
        self._changelog = changelog
        self._told = False

    def __call__(self, record: Any) -> bool:
        if self._keys is None:
            return True
        key = record.key or b""
        if self._keys.believes(self._changelog, key, record.value, record.timestamp):
            return True
        if not self._told:
            self._told = True
            place = (record.topic, record.partition, record.offset)
            log.error("the entry at %s/%d/%d, and others like it, is left out: %s", *place, CLEAR_ENTRY)
        return False


class RestoreProgress:
    """Says in the log how fast a changelog is read and when that will end, where it takes long."""

    def __init__(self, topic: str, records: int) -> None:
        self._topic = topic
        self._records = records
        self._begun_s = self._told_s = time.monotonic()

    def tell(self, remaining: int) -> None:
        now_s = time.monotonic()
        if now_s - self._told_s < TOLD_EVERY_S:
            return
        self._told_s = now_s
        rate = (self._records - remaining) / (now_s - self._begun_s)
        log.info(
            "restoring from %s: %s of %s records to go, %s a second, about %s more",
            *(self._topic, f"{remaining:,}", f"{self._records:,}", f"{rate:,.0f}"),
            duration(1000 * remaining / rate),
        )

    def end(self) -> None:
        duration_s = time.monotonic() - self._begun_s
        log.info("restored %s records from %s in %.1f s", f"{self._records:,}", self._topic, duration_s)


async def _changelogs(settings: Settings, changelog: str, paths: Mapping[int, Path]) -> dict[int, Changelog]:
    """As they are now; `read_uncommitted`, so that open transactions count as being there."""
    name = settings.topic(changelog)
    places = [TopicPartition(name, number) for number in paths]
    async with _reader(settings, "read_uncommitted") as reader:
        topic = await topic_id(client_of(reader), name)
        starts, ends = await reader.beginning_offsets(places), await reader.end_offsets(places)
    return {place.partition: Changelog(topic, starts[place], ends[place]) for place in places}


@asynccontextmanager
async def _reader(settings: Settings, isolation: str) -> AsyncGenerator[AIOKafkaConsumer]:
    reader = AIOKafkaConsumer(
        **settings.client_options(),
        isolation_level=isolation,
        enable_auto_commit=False,
        auto_offset_reset="earliest",
        max_partition_fetch_bytes=FETCH_BYTES_MAX,
        fetch_max_wait_ms=FETCH_WAIT_MS,
    )
    await reader.start()
    try:
        yield reader
    finally:
        await reader.stop()
