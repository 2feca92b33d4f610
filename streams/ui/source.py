"""What the page shows and who it tells: a `Client`, an index over its table of statuses, and dead letters."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any, Protocol

from segue.processors.views.token_stream import Piece
from segue.streams.client.client import Client
from segue.streams.client.newest_records import Position
from segue.streams.client.status_table import StatusTable
from segue.streams.settings import Settings
from segue.streams.ui.dead_letters import DeadLetterPage, DeadLetterTable
from segue.streams.ui.index import Index
from segue.topics.flow import Received
from segue.topics.records import Status

HISTORIES_MAX = 4
"""That are read at once: each holds some megabytes of what was fetched."""


class Source(Protocol):
    async def index(self) -> Index: ...
    async def letters(self, before: Position | None = None) -> DeadLetterPage: ...
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
        self._letters = DeadLetterTable(settings)
        self._reading = asyncio.Semaphore(HISTORIES_MAX)
        super().__init__(settings, self._indexed)

    async def __aexit__(self, *error: Any) -> None:
        try:
            await self._letters.close()
        finally:
            await super().__aexit__(*error)

    async def index(self) -> Index:
        return await self._indexed.looked_at()

    async def letters(self, before: Position | None = None) -> DeadLetterPage:
        """The newest, or the newest of those before a position."""
        return await self._letters.look(before)

    async def history(self, task: str, run: int | None = None) -> list[Received]:
        async with self._reading:
            return await super().history(task, run)


class _IndexedTable(StatusTable):
    def __init__(self, settings: Settings) -> None:
        super().__init__(settings)
        self._index = Index()

    async def looked_at(self) -> Index:
        async with self._up_to_date():
            return self._index

    def _keep(self, record: Received) -> None:
        super()._keep(record)
        self._index.put((record.key or b"").decode(errors="replace"), record.value)
