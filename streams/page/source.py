"""What the page shows and who it tells: a `Client`, an index over its table of statuses, and dead letters."""

from collections.abc import AsyncIterator
from typing import Any, Protocol

from processors.writing import Piece
from streams.gateway import Client
from streams.page.index import Index
from streams.reader import Reader
from streams.settings import Settings
from streams.status_table import StatusTable
from topics.flow import Received
from topics.records import Status

LETTERS_READ_MAX = 1_000
"""Of each partition of the dead letters, from its end: older ones are for `segue dead-letters`."""


class Source(Protocol):
    async def index(self) -> Index: ...
    async def letters(self) -> list[Received]: ...
    async def status(self, task: str) -> Status: ...
    async def history(self, task: str, run: int | None = None) -> list[Received]: ...
    def follow(self, task: str) -> AsyncIterator[Received]: ...
    def tokens(self, task: str) -> AsyncIterator[Piece]: ...
    async def answer(
        self,
        task: str,
        value: Any,
        step: int | None = None,
        id: str | None = None,  # noqa: A002 - as `Client` has it
        by: str | None = None,
    ) -> bool: ...
    async def signal(self, task: str, name: str, value: Any = None) -> None: ...
    async def cancel(self, task: str, reason: str = ..., *, force: bool = ...) -> None: ...


class KafkaSource(Client):
    """As a `Client`, with the index and the letters."""

    def __init__(self, settings: Settings) -> None:
        self._indexed = _IndexedTable(settings)
        super().__init__(settings, self._indexed)

    async def index(self) -> Index:
        return await self._indexed.looked_at()

    async def letters(self) -> list[Received]:
        """The newest first."""
        async with Reader(self._settings) as reader:
            places = reader.partitions("dead-letters")
            firsts, ends = await reader.beginnings(places), await reader.ends(places)
            starts = {place: max(firsts[place], ends[place] - LETTERS_READ_MAX) for place in places}
            found = [record async for record in reader.read(starts, ends)]
        return sorted(found, key=lambda letter: letter.timestamp_ms, reverse=True)


class _IndexedTable(StatusTable):
    def __init__(self, settings: Settings) -> None:
        super().__init__(settings)
        self._index = Index()

    async def looked_at(self) -> Index:
        async with self._up_to_date():
            return self._index

    def _keep(self, key: bytes, value: bytes | None) -> None:
        super()._keep(key, value)
        self._index.put(key.decode(errors="replace"), value)
