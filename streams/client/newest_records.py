"""Reads the newest records of a topic, backwards from its end, without reading what is older.

A window of offsets before the end of each partition is read, then the one before it, twice as large, until
enough is found. Of each record only what `keep` returns stays in memory.
"""

from collections.abc import Callable, Iterable
from heapq import heappush, heappushpop
from typing import Generic, NamedTuple, Self, TypeVar

from aiokafka import TopicPartition

from segue.streams.kafka.reader import Offsets, Reader
from segue.topics.flow import Received

T = TypeVar("T")

WINDOW_MIN = 8
"""Offsets of each partition that are read first: an offset may be that of a transaction's end."""


class Position(NamedTuple):
    """Where a record stands in a topic, by time: as text in a link, `1796059200000:2:17`."""

    timestamp_ms: int
    partition: int
    offset: int

    @classmethod
    def of(cls, record: Received) -> Self:
        return cls(record.timestamp_ms, record.partition, record.offset)

    @classmethod
    def parsed(cls, text: str) -> Self | None:
        """None for what is no position."""
        parts = text.split(":")
        if len(parts) != len(cls._fields) or not all(p.isdecimal() and len(p) < 19 for p in parts):
            return None
        return cls(*map(int, parts))

    def __str__(self) -> str:
        return ":".join(map(str, self))


A = TypeVar("A")

Found = list[tuple[Position, T]]


class NewestItems(Generic[A, T]):
    """Holds the items of the greatest ages, `most` of them; `count` is of all that were added."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._heap: list[tuple[A, int, T]] = []
        self.count = 0

    @property
    def oldest(self) -> A | None:
        """The least age that is held; None as long as there is room."""
        return self._heap[0][0] if self._heap and len(self._heap) >= self._most else None

    def add(self, age: A, item: T) -> None:
        """Of two items of one age the later is the newer."""
        self.count += 1
        push = heappush if len(self._heap) < self._most else heappushpop
        push(self._heap, (age, self.count, item))

    @property
    def found(self) -> list[tuple[A, T]]:
        """The newest first."""
        return [(age, item) for age, _, item in sorted(self._heap, reverse=True)]


async def newest(
    reader: Reader, starts: Offsets, ends: Offsets, count: int, keep: Callable[[Received], T]
) -> Found[T]:
    """Return what `keep` makes of the newest `count` records between the bounds, the newest first."""
    held, size = NewestItems[Position, T](count), max(WINDOW_MIN, 2 * count // max(1, len(starts)))
    while left := {place: end for place, end in ends.items() if starts[place] < end}:
        begins = {place: max(starts[place], end - size) for place, end in left.items()}
        oldest: dict[int, Position] = {}
        async for record in reader.read(begins, left):
            position = Position.of(record)
            oldest.setdefault(record.partition, position)
            if held.oldest is None or position > held.oldest:
                held.add(position, keep(record))
        ends = {p: b for p, b in begins.items() if not _is_older(oldest.get(p.partition), held.oldest)}
        size *= 2
    return held.found


def _is_older(oldest: Position | None, than: Position | None) -> bool:
    return oldest is not None and than is not None and oldest <= than


async def ends_before(
    reader: Reader, places: Iterable[TopicPartition], position: Position
) -> dict[TopicPartition, int]:
    """The ends of the partitions, as if nothing stood from `position` on: the broker's times never fall."""
    ends = await reader.ends(places)
    same = await reader.at_time(ends, position.timestamp_ms)
    later = await reader.at_time(ends, position.timestamp_ms + 1)

    def end_of(place: TopicPartition) -> int:
        if place.partition == position.partition:
            return min(position.offset, ends[place])
        return later[place] if place.partition < position.partition else same[place]

    return {place: end_of(place) for place in ends}
