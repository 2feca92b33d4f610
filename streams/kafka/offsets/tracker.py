"""How far a stage is on a partition when its calls finish out of order.

    offsets        10  11  12  13  14  15 │ 16          high = 16: the first that was not yet delivered
    unfinished     ──  11  ──  ──  14  15 │             committed: offset 11, metadata "14, 15 below 16"

The group commits the lowest unfinished offset, and in the commit's metadata the other unfinished ones: all
else below `high` is done, offsets that never held a record (markers of transactions) included. The unfinished
are what to encode, not the finished: their number is limited by the calls in flight, the other grows without
limit while one slow call runs. `encoding` makes them small.

A broker takes only so much metadata (`offset.metadata.max.bytes`). A record has room if the commit fits with
it, whichever of the unfinished end first; without room the partition takes no new records until some have
ended.

Every commit of Segue names its own offset in its metadata, those of the other stages too. An offset whose
metadata does not name it was set by somebody else, by `kafka-consumer-groups --reset-offsets` for example.
"""

from collections.abc import Sequence

from aiokafka.structs import OffsetAndMetadata

from segue.streams.kafka.offsets.encoding import (
    METADATA_BYTES_MAX,
    Unfinished,
    bits_for,
    bits_max_of,
    decoded,
    encoded,
)


class OffsetTracker:
    """Offsets of one partition: delivered, finished, and what to commit."""

    def __init__(self, offset: int, metadata: str = "", chars_max: int = METADATA_BYTES_MAX) -> None:
        """As committed. Metadata that Segue did not write for this offset counts as none."""
        known = decoded(offset, metadata) or Unfinished(offset, [])
        self.high, self._unfinished = known.high, dict.fromkeys(known.offsets)
        self._awaited = sorted(self._unfinished, reverse=True)
        """Unfinished when they were committed, and not delivered again yet; the lowest last."""
        self._last: int | None = None
        """The last offset that `_bits` counts."""
        self._chars_max, self._bits_max = chars_max, bits_for(chars_max)
        self._encode()

    def has_room(self, offset: int) -> bool:
        """Whether the record at `offset` may be delivered: a commit can name it beside the unfinished."""
        if offset < self.high or self._bits + self._bits_of(offset) <= self._bits_max:
            return True
        self._encode()  # offsets have finished since, or another order suits these better
        return self._bits + self._bits_of(offset) <= self._bits_max

    @property
    def has_ample_room(self) -> bool:
        """Whether a quarter of the metadata is free: less would be full again at once."""
        return self._bits <= self._bits_max * 3 // 4

    def deliver(self, offset: int) -> bool:
        """The record at `offset` was read. False if it is already done."""
        while self._awaited and self._awaited[-1] < offset:
            self._unfinished.pop(self._awaited.pop(), None)  # its record is no longer on the topic
        if self._awaited and self._awaited[-1] == offset:
            self._awaited.pop()
        if offset >= self.high:
            self._bits += self._bits_of(offset)
            self._last = offset
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
        unfinished, text = self._encode()
        return OffsetAndMetadata(unfinished[0] if unfinished else self.high, text)

    def _encode(self) -> tuple[list[int], str]:
        """From now on `_bits` is what the unfinished offsets take at most, and any that are left of them."""
        unfinished = list(self._unfinished)
        text, self._order, self._bits = encoded(self.high, unfinished, self._chars_max)
        self._last = unfinished[-1] if unfinished else None
        return unfinished, text

    def _bits_of(self, offset: int) -> int:
        """What one more offset, behind all others, takes at most."""
        return 0 if self._last is None else bits_max_of(offset - self._last, self._order)


def committed(high: int, unfinished: Sequence[int] = ()) -> OffsetAndMetadata:
    """Return the commit that says: all below `high` is done but the `unfinished` offsets, which ascend."""
    return OffsetAndMetadata(unfinished[0] if unfinished else high, encoded(high, unfinished).text)


def is_own(offset: int, metadata: str) -> bool:
    """Return whether Segue committed this offset itself."""
    return decoded(offset, metadata) is not None
