"""The private parts of aiokafka that Segue reads or replaces; no other module does either.

    client_of           sends requests that aiokafka's consumer does not send
    GroupMember         a consumer's membership in its group, and three methods that Segue replaces
    read_any_header_name    replaces the reader of record batches

Any release of aiokafka may move them, so pyproject.toml pins its version exactly. The test
`tests/streams/test_aiokafka_internals.py` names each part that a release has moved and the module that needs
it. Segue does not compare versions when it starts: pip refuses another version, and a part that is missing
raises an `AttributeError` with its name before a worker reads its first record.
"""

# aiokafka is annotated only in part.
# pyright: reportPrivateUsage=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# pyright: reportUnknownMemberType=false

import struct
from collections.abc import Awaitable, Callable, Iterator
from typing import Any, TypeVar, cast

from aiokafka import AIOKafkaConsumer
from aiokafka.consumer import fetcher
from aiokafka.record.default_records import _DefaultRecordBatchPy
from aiokafka.record.memory_records import MemoryRecords

from segue.topics.flow import Headers

F = TypeVar("F", bound=Callable[..., Awaitable[Any]])


def client_of(consumer: AIOKafkaConsumer) -> Any:
    """Return the consumer's connections, an `AIOKafkaClient`, from `AIOKafkaConsumer._client`.

    The consumer has no public method that sends a request of ours (see `protocol` and `topic_ids`), or that
    lists topics with their partitions.
    """
    return consumer._client


class GroupMember:
    """A consumer's membership in its group: the `GroupCoordinator` in `AIOKafkaConsumer._coordinator`.

    aiokafka makes it when the consumer starts, and shows none of it. Commits and heartbeats of ours need the
    member's id and generation; the three methods in `replace` must know static members.
    """

    def __init__(self, consumer: AIOKafkaConsumer) -> None:
        self._consumer = consumer

    @property
    def _coordinator(self) -> Any:
        return self._consumer._coordinator

    @property
    def has_started(self) -> bool:
        """Whether `AIOKafkaConsumer._coordinator` is there; the other members of this class need it."""
        return self._coordinator is not None

    @property
    def id(self) -> str:
        """`GroupCoordinator.member_id`: empty while the group does not know this member."""
        return str(self._coordinator.member_id)

    @property
    def generation(self) -> int:
        """`GroupCoordinator.generation`: not above 0 while the group does not know this member."""
        return int(self._coordinator.generation)

    def forget(self) -> None:
        """Call `GroupCoordinator.reset_generation`, as aiokafka does when a member has left."""
        self._coordinator.reset_generation()

    async def node(self) -> Any:
        """Return the broker that coordinates the group, from `GroupCoordinator.coordinator_id`.

        `ensure_coordinator_known` looks for it if aiokafka does not know it at the moment.
        """
        await self._coordinator.ensure_coordinator_known()
        return self._coordinator.coordinator_id

    def replace_heartbeat(self, ours: Callable[[], Awaitable[bool]]) -> Callable[[], Awaitable[bool]]:
        """Replace `GroupCoordinator._do_heartbeat` and return it: aiokafka's has no instance id."""
        return self._replace("_do_heartbeat", ours)

    def replace_rejoin(self, ours: Callable[[Any], Awaitable[bool]]) -> Callable[[Any], Awaitable[bool]]:
        """Replace `GroupCoordinator._do_rejoin_group` and return it: aiokafka's takes over a name in use."""
        return self._replace("_do_rejoin_group", ours)

    def replace_leave(self, ours: Callable[[], Awaitable[None]]) -> None:
        """Replace `GroupCoordinator._maybe_leave_group`: with aiokafka's a static member never leaves."""
        self._replace("_maybe_leave_group", ours)

    def _replace(self, name: str, ours: F) -> F:
        """Raise `AttributeError` if there is no such method: Python would set the attribute anyway."""
        theirs: F = getattr(self._coordinator, name)
        setattr(self._coordinator, name, ours)
        return theirs


# ---------------------------------------------------------------- headers

# Producers in other languages write what aiokafka does not read. A header's name is text to aiokafka and
# bytes to Kafka; a value may be missing. A name that is not UTF-8 makes aiokafka fail on the whole fetch, and
# again on each fetch after it: no record behind that one would ever be read. Kafka's Java client replaces the
# bytes that are not UTF-8, and so does Segue. Such a batch is read again, by aiokafka's slower reader in
# Python; each other batch costs a list.

_FRAME = struct.Struct(">qi")
"""A batch begins with its first offset and the length of what follows."""


def read_any_header_name() -> None:
    """Replace `MemoryRecords` in `aiokafka.consumer.fetcher`, for the whole process.

    The consumer reads each fetch by it, and offers no other place to decode headers. A second call changes
    nothing.
    """
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
    """Read a batch by `_DefaultRecordBatchPy`, whose `_buffer` has the bytes after `_maybe_uncompress`.

    aiokafka's faster reader, in C, has no place where names could be decoded in another way.
    """
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
