"""Reads records with any headers. Producers in other languages write what aiokafka does not read.

A header's name is text to aiokafka and bytes to Kafka and librdkafka; a value may be missing. A name that is
not UTF-8 makes aiokafka fail on the whole fetch, and again on each fetch after it: nothing behind that record
would ever be read. Kafka's Java client replaces what can't be read, and so do we. Such a batch is read again,
by aiokafka's slower reader in Python; all others cost a list.
"""

# aiokafka is annotated only in part.
# pyright: reportPrivateUsage=false, reportUnknownVariableType=false, reportUnknownArgumentType=false

import struct
from collections.abc import Iterator
from typing import Any, cast

from aiokafka.consumer import fetcher
from aiokafka.record.default_records import _DefaultRecordBatchPy
from aiokafka.record.memory_records import MemoryRecords

from segue.topics.flow import Headers

_FRAME = struct.Struct(">qi")
"""A batch begins with its first offset and the length of what follows."""


def read_any_header_name() -> None:
    """For the whole process; calling it again changes nothing."""
    cast("Any", fetcher).MemoryRecords = _Records


def given_values(headers: Any) -> Headers:
    """A header without a value as one with an empty value."""
    for _, value in headers:
        if value is None:
            return tuple((name, each or b"") for name, each in headers)
    return cast("Headers", headers)


class _Records:
    """The batches of one fetch, as aiokafka's `MemoryRecords`."""

    def __init__(self, data: bytes) -> None:
        self._theirs: Any = MemoryRecords(data)
        self._data = data
        self._at = 0
        self.size_in_bytes = self._theirs.size_in_bytes
        self.has_next = self._theirs.has_next

    def next_batch(self) -> Any:
        batch = self._theirs.next_batch()
        begin = self._at
        _, length = _FRAME.unpack_from(self._data, begin)
        self._at += _FRAME.size + length
        return _Batch(batch, memoryview(self._data)[begin : self._at])


class _Batch:
    """A batch, all of whose records are read at once."""

    def __init__(self, theirs: Any, data: memoryview) -> None:
        self._theirs = theirs
        self._data = data

    def __getattr__(self, name: str) -> Any:
        return getattr(self._theirs, name)

    def __iter__(self) -> Iterator[Any]:
        try:
            return iter(list(self._theirs))
        except UnicodeDecodeError:
            return _leniently(self._data)

    def __next__(self) -> Any:
        return next(self._theirs)


def _leniently(data: memoryview) -> Iterator[Any]:
    batch: Any = _DefaultRecordBatchPy(data)
    batch._maybe_uncompress()
    batch._buffer = _Lenient(batch._buffer)
    return cast("Iterator[Any]", batch)


class _Lenient(bytearray):
    """Bytes whose parts become text whatever they are."""

    def __getitem__(self, index: Any) -> Any:
        part: Any = super().__getitem__(index)
        return _Lenient(part) if isinstance(index, slice) else part

    def decode(self, encoding: str = "utf-8", errors: str = "replace") -> str:
        return super().decode(encoding, "replace")
