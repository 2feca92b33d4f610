"""Where every task stands, for programs that look: the compacted topic `status`, read whole."""

import asyncio
import logging
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

from aiokafka import TopicPartition

from streams.reader import Reader
from streams.settings import Settings
from topics import codec
from topics.errors import BadRecord
from topics.records import Status

log = logging.getLogger(__name__)


class StatusTable:
    """The compacted topic `status`, read once and then kept up to date: each look reads only what is new."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._reader: Reader | None = None
        self._lock = asyncio.Lock()
        self._values: dict[bytes, bytes] = {}
        self._told: set[bytes] = set()
        self._read_to: dict[TopicPartition, int] = {}

    async def get(self, task: str) -> Status | None:
        async with self._lock:
            reader = await self._connected()
            await self._catch_up(reader, [reader.partition_of("status", task)])
            value = self._values.get(task.encode())
        return None if value is None else codec.decode("status", value)

    async def all(self) -> list[Status]:
        async with self._up_to_date():
            found = [self._readable(key, value) for key, value in self._values.items()]
            return [status for status in found if status is not None]

    def _readable(self, key: bytes, value: bytes) -> Status | None:
        """One that can't be read hides no other. It is told of once."""
        try:
            status: Status = codec.decode("status", value)
        except BadRecord as bad:
            if key not in self._told:
                log.warning("the status of task %r is left out: %s", key.decode(errors="replace"), bad)
            self._told.add(key)
            return None
        return status

    async def close(self) -> None:
        if self._reader is not None:
            await self._reader.__aexit__(None, None, None)
            self._reader = None

    @asynccontextmanager
    async def _up_to_date(self) -> AsyncGenerator[None]:
        async with self._lock:
            reader = await self._connected()
            await self._catch_up(reader, reader.partitions("status"))
            yield

    async def _connected(self) -> Reader:
        """A reader that found no topics knows none that are made later: the next look gets a new one."""
        if self._reader is None or not self._reader.exists("status"):
            await self.close()
            self._reader = await Reader(self._settings).__aenter__()
        return self._reader

    async def _catch_up(self, reader: Reader, places: list[TopicPartition]) -> None:
        ends = await reader.ends(places)
        new = [place for place in places if place not in self._read_to]
        if new:
            self._read_to |= await reader.beginnings(new)
        async for record in reader.read({place: self._read_to[place] for place in places}, ends):
            if record.key is not None:
                self._keep(record.key, record.value)
        self._read_to |= ends

    def _keep(self, key: bytes, value: bytes | None) -> None:
        if value is None:
            self._values.pop(key, None)
        else:
            self._values[key] = value
