"""The dead letters as the page shows them: cut to what is shown when they are read, a part of them at a time.

The newest part is kept and only added to, so a page that asks every two seconds reads each letter once.
"""

import asyncio
from collections.abc import Sequence
from typing import Any, NamedTuple

from segue.streams.client.dead_letters import document, traceback_of
from segue.streams.client.newest_records import Found, Position, ends_before, newest
from segue.streams.kafka.reader import Reader
from segue.streams.settings import Settings
from segue.streams.ui.rendering import VALUE_CHARS_MAX
from segue.topics.flow import Received

LETTERS_MAX = 50
"""On one page."""

TEXT_CHARS_MAX = 1_000
"""Of an id, a reason or a header: whoever writes to `tasks` may make them as large as a record."""

HEADERS_MAX = 50

TOPIC = "dead-letters"

Letter = dict[str, Any]


class DeadLetterPage(NamedTuple):
    """Some letters, the newest first. The ones before them are found by `older`, if there are some."""

    letters: Sequence[Letter]
    older: Position | None = None


class DeadLetterTable:
    """Reads dead letters, the newest of which it keeps."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._reader: Reader | None = None
        self._lock = asyncio.Lock()
        self._newest: Found[Letter] = []
        self._read_to: dict[Any, int] = {}

    async def look(self, before: Position | None) -> DeadLetterPage:
        """The newest letters, or the newest of those before a position."""
        async with self._lock:
            reader = await self._connected()
            places = reader.partitions(TOPIC)
            firsts = await reader.beginnings(places)
            if before is None:
                return part(await self._caught_up(reader, firsts))
            ends = await ends_before(reader, places, before)
            return part(await newest(reader, firsts, ends, LETTERS_MAX + 1, letter_of))

    async def close(self) -> None:
        if self._reader is not None:
            await self._reader.__aexit__(None, None, None)
            self._reader = None

    async def _caught_up(self, reader: Reader, firsts: dict[Any, int]) -> Found[Letter]:
        ends = await reader.ends(firsts)
        firsts_by_number = {place.partition: first for place, first in firsts.items()}
        starts = {place: max(first, self._read_to.get(place, 0)) for place, first in firsts.items()}
        new = await newest(reader, starts, ends, LETTERS_MAX + 1, letter_of)
        kept = [each for each in self._newest if each[0].offset >= firsts_by_number[each[0].partition]]
        self._newest = sorted(new + kept, key=lambda each: each[0], reverse=True)[: LETTERS_MAX + 1]
        self._read_to = ends
        return self._newest

    async def _connected(self) -> Reader:
        if self._reader is None or not self._reader.exists(TOPIC):
            await self.close()
            self._reader = await Reader(self._settings).__aenter__()
        return self._reader


def letter_of(record: Received) -> Letter:
    """What is shown of a letter."""
    value = record.value or b""
    told = document(record._replace(value=value[:VALUE_CHARS_MAX]))
    more = len(value) - VALUE_CHARS_MAX
    headers = list(told.pop("headers").items())[:HEADERS_MAX]
    traceback = traceback_of(told["topic"], record.value)
    return {name: cut(str(text)) for name, text in told.items() if name != "value"} | {
        "value": told["value"] + (f"\n… {more:,} bytes more" if more > 0 else ""),
        "headers": {cut(name): cut(text) for name, text in headers},
        "at_ms": record.timestamp_ms,
        "traceback": cut(traceback, VALUE_CHARS_MAX) if traceback else None,
    }


def cut(text: str, chars_max: int = TEXT_CHARS_MAX) -> str:
    return text if len(text) <= chars_max else f"{text[:chars_max]}…"


def part(found: Found[Letter]) -> DeadLetterPage:
    """The first page of what was found."""
    shown = found[:LETTERS_MAX]
    return DeadLetterPage([letter for _, letter in shown], shown[-1][0] if len(found) > len(shown) else None)
