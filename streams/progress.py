"""How far a stage is on a partition when its calls finish out of order.

    offsets        10  11  12  13  14  15 │ 16          high = 16: the first that was not yet delivered
    unfinished     ──  11  ──  ──  14  15 │             committed: offset 11, metadata "14, 15 below 16"

The group commits the lowest unfinished offset, and in the commit's metadata the other unfinished ones: all
else below `high` is done, offsets that never held a record (markers of transactions) included. The unfinished
are what to encode, not the finished: their number is limited by the calls in flight, the other grows without
limit while one slow call runs.

    metadata = base64(varint(high - offset), then varint of each gap between unfinished offsets)
"""

import base64
import binascii
from collections.abc import Iterator

from aiokafka.structs import OffsetAndMetadata

METADATA_BYTES_MAX = 4096
"""The broker's `offset.metadata.max.bytes`."""

UNFINISHED_MAX = 600
"""On one partition. A gap takes at most 5 bytes (35 bits), and base64 makes 4 bytes of 3."""

assert (UNFINISHED_MAX + 1) * 5 * 4 // 3 + 4 < METADATA_BYTES_MAX


class Progress:
    """Offsets of one partition: delivered, finished, and what to commit."""

    def __init__(self, offset: int, metadata: str = "") -> None:
        """As committed. Metadata that is not ours (offsets were reset by hand, say) counts as none."""
        self.high, self._unfinished = offset, dict[int, None]()
        if metadata:
            self.high, self._unfinished = _decoded(offset, metadata)
        self._awaited = sorted(self._unfinished, reverse=True)
        """Unfinished when they were committed, and not delivered again yet; the lowest last."""

    def deliver(self, offset: int) -> bool:
        """The record at `offset` was read. False if it is already done."""
        while self._awaited and self._awaited[-1] < offset:
            self._unfinished.pop(self._awaited.pop(), None)  # its record is no longer on the topic
        if self._awaited and self._awaited[-1] == offset:
            self._awaited.pop()
        if offset >= self.high:
            self.high = offset + 1
            self._unfinished[offset] = None
            return True
        return offset in self._unfinished

    def pass_over(self, offset: int) -> None:
        """The records below are gone from their topic. Those that were delivered before are handled on."""
        for gone in [awaited for awaited in self._awaited if awaited < offset]:
            self._awaited.remove(gone)
            self._unfinished.pop(gone, None)
        self.high = max(self.high, offset)

    def done(self, offset: int) -> bool:
        return offset < self.high and offset not in self._unfinished

    def finish(self, offset: int) -> None:
        self._unfinished.pop(offset, None)

    @property
    def unfinished(self) -> int:
        return len(self._unfinished)

    def commit(self) -> OffsetAndMetadata:
        """What to commit now."""
        first = next(iter(self._unfinished), self.high)
        if first == self.high:
            return OffsetAndMetadata(self.high, "")
        return OffsetAndMetadata(first, _encoded(self.high, list(self._unfinished)))


def _encoded(high: int, unfinished: list[int]) -> str:
    first, *rest = unfinished
    gaps = [high - first, *(after - before for before, after in zip(unfinished, rest, strict=False))]
    return base64.b64encode(b"".join(map(_varint, gaps))).decode()


def _decoded(offset: int, metadata: str) -> tuple[int, dict[int, None]]:
    try:
        distance, *gaps = _varints(base64.b64decode(metadata, validate=True))
    except (binascii.Error, ValueError):
        return offset, {}
    unfinished = {offset: None}
    for gap in gaps:
        unfinished[next(reversed(unfinished)) + gap] = None
    return offset + distance, unfinished


def _varint(number: int) -> bytes:
    """Seven bits a byte, the lowest first, the top bit set on all but the last (LEB128)."""
    low, rest = number & 0x7F, number >> 7
    return bytes([low]) if rest == 0 else bytes([low | 0x80]) + _varint(rest)


def _varints(data: bytes) -> Iterator[int]:
    number = shift = 0
    for byte in data:
        number |= (byte & 0x7F) << shift
        shift += 7
        if byte < 0x80:
            yield number
            number = shift = 0
