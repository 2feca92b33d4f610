"""How far a stage is on a partition when its calls finish out of order.

    offsets        10  11  12  13  14  15 │ 16          high = 16: the first that was not yet delivered
    unfinished     ──  11  ──  ──  14  15 │             committed: offset 11, metadata "14, 15 below 16"

The group commits the lowest unfinished offset, and in the commit's metadata the other unfinished ones: all
else below `high` is done, offsets that never held a record (markers of transactions) included. The unfinished
are what to encode, not the finished: their number is limited by the calls in flight, the other grows without
limit while one slow call runs.

    metadata = base64(varint(offset), varint(high - offset), varint of each gap between unfinished offsets)

Every commit of Segue names its own offset in its metadata, those of the other stages too. An offset whose
metadata does not name it was set by somebody else, by `kafka-consumer-groups --reset-offsets` for example.
"""

import base64
import binascii
from collections.abc import Iterator, Sequence
from itertools import accumulate, pairwise

from aiokafka.structs import OffsetAndMetadata

METADATA_BYTES_MAX = 4096
"""The broker's `offset.metadata.max.bytes`."""

UNFINISHED_MAX = 600
"""On one partition. A gap takes at most 5 bytes (35 bits), and base64 makes 4 bytes of 3."""

OFFSET_BYTES_MAX = 9
"""An offset has at most 63 bits."""

assert (OFFSET_BYTES_MAX + (UNFINISHED_MAX + 1) * 5) * 4 // 3 + 4 < METADATA_BYTES_MAX


class Progress:
    """Offsets of one partition: delivered, finished, and what to commit."""

    def __init__(self, offset: int, metadata: str = "") -> None:
        """As committed. Metadata that Segue did not write for this offset counts as none."""
        self.high, self._unfinished = _decoded(offset, metadata) or (offset, dict[int, None]())
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
        return committed(self.high, list(self._unfinished))


def committed(high: int, unfinished: Sequence[int] = ()) -> OffsetAndMetadata:
    """Return the commit that says: all below `high` is done but the `unfinished` offsets, which ascend."""
    offset = unfinished[0] if unfinished else high
    gaps = (after - before for before, after in pairwise(unfinished))
    numbers = (offset, high - offset, *gaps)
    return OffsetAndMetadata(offset, base64.b64encode(b"".join(map(_varint, numbers))).decode())


def is_own(offset: int, metadata: str) -> bool:
    """Return whether Segue committed this offset itself."""
    return _decoded(offset, metadata) is not None


def _decoded(offset: int, metadata: str) -> tuple[int, dict[int, None]] | None:
    """Return `high` and the unfinished offsets; None if Segue did not write the metadata for this offset."""
    try:
        named, distance, *gaps = _varints(base64.b64decode(metadata, validate=True))
    except (binascii.Error, ValueError):
        return None
    if named != offset:
        return None
    unfinished = dict.fromkeys(accumulate((offset, *gaps))) if distance else {}
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
