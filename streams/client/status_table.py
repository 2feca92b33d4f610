"""Where every task stands, for programs that look: the compacted topic `status`, read whole."""

import asyncio
import logging
from collections import OrderedDict
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager

from aiokafka import TopicPartition

from segue.streams.kafka.reader import Reader
from segue.streams.settings import Settings
from segue.topics import codec
from segue.topics.errors import BadRecord
from segue.topics.flow import Received
from segue.topics.records import Status

log = logging.getLogger(__name__)

BYTES_MAX = 4 * 1024 * 1024
"""Of statuses that a table holds whole: those of many thousand tasks that changed last."""


class TopicLog:
    """Hands each record of a topic to `keep`, once: each look reads only what is new. One look at a time.

    The first look at a partition reads all of it, or its last records if `recent` is how many.
    """

    def __init__(
        self, settings: Settings, topic: str, keep: Callable[[Received], None], recent: int | None = None
    ) -> None:
        self._settings = settings
        self._topic = topic
        self._keep = keep
        self._recent = recent
        self._reader: Reader | None = None
        self._read_to: dict[TopicPartition, int] = {}

    async def catch_up(self, task: str | None = None) -> None:
        """Read what is new about all tasks, or about those on the partition of one."""
        reader = await self._connected()
        places = reader.partitions(self._topic) if task is None else [reader.partition_of(self._topic, task)]
        ends = await reader.ends(places)
        new = [place for place in places if place not in self._read_to]
        if new:
            starts = await reader.beginnings(new)
            recent = {} if self._recent is None else {place: ends[place] - self._recent for place in new}
            self._read_to |= {place: max(start, recent.get(place, start)) for place, start in starts.items()}
        async for record in reader.read({place: self._read_to[place] for place in places}, ends):
            self._keep(record)
        self._read_to |= ends

    async def value_at(self, task: str, offset: int) -> bytes | None:
        """Read one record again, on the partition of its task."""
        reader = await self._connected()
        place = reader.partition_of(self._topic, task)
        async for record in reader.read({place: offset}, {place: offset + 1}):
            return record.value
        return None

    async def close(self) -> None:
        if self._reader is not None:
            await self._reader.__aexit__(None, None, None)
            self._reader = None

    async def _connected(self) -> Reader:
        """A reader that found no topics knows none that are made later: the next look gets a new one."""
        if self._reader is None or not self._reader.exists(self._topic):
            await self.close()
            self._reader = await Reader(self._settings).__aenter__()
        return self._reader


class StatusTable:
    """Finds the last status of a task. Of each it holds where that stands, and those that came last whole."""

    def __init__(self, settings: Settings) -> None:
        self._log = TopicLog(settings, "status", self._keep)
        self._lock = asyncio.Lock()
        self._places: dict[bytes, int] = {}
        self._last: OrderedDict[bytes, bytes] = OrderedDict()
        self._bytes = 0

    async def get(self, task: str) -> Status | None:
        async with self._lock:
            await self._log.catch_up(task)
            value = self._last.get(task.encode())
            if value is None and (offset := self._places.get(task.encode())) is not None:
                value = await self._log.value_at(task, offset)
        return None if value is None else codec.decode("status", value)

    async def close(self) -> None:
        await self._log.close()

    @asynccontextmanager
    async def _up_to_date(self) -> AsyncGenerator[None]:
        async with self._lock:
            await self._log.catch_up()
            yield

    def _keep(self, record: Received) -> None:
        key, value = record.key or b"", record.value
        self._bytes -= len(self._last.pop(key, b""))
        if value is None:
            self._places.pop(key, None)
            return
        self._places[key], self._last[key] = record.offset, value
        self._bytes += len(value)
        while self._bytes > BYTES_MAX:
            _, gone = self._last.popitem(last=False)
            self._bytes -= len(gone)


async def each_status(settings: Settings, partition: int | None = None) -> AsyncGenerator[Status]:
    """Yield the last status of each task, or of those on a partition, in no order.

    Of each only its offset stays in memory.

    The topic is read twice: which records are the last, and then these. One that can't be read is left out.
    """
    async with Reader(settings) as reader:
        places = [each for each in reader.partitions("status") if partition in (None, each.partition)]
        starts, ends = await reader.beginnings(places), await reader.ends(places)
        last: dict[bytes | None, int] = {}
        async for record in reader.read(starts, ends):
            last[record.key] = record.offset
        async for record in reader.read(starts, ends):
            if record.key is None or record.value is None or last[record.key] != record.offset:
                continue
            if (status := _readable(record.key, record.value)) is not None:
                yield status


def _readable(key: bytes, value: bytes) -> Status | None:
    """Return the status; None for one that can't be read, which hides no other."""
    try:
        status: Status = codec.decode("status", value)
    except BadRecord as bad:
        log.warning(
            "the status of task %r can't be read and is left out: %s", key.decode(errors="replace"), bad
        )
        return None
    return status
