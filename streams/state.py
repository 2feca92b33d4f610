"""A stage's state on one partition: a RocksDB beside a changelog topic, restorable from it.

    reads ─▶ pending writes of the batch ─▶ RocksDB
    commit ─▶ changelog, in the batch's transaction ─▶ RocksDB, with the changelog offset, in one write batch

RocksDB never holds more than the changelog: it is written after the commit, and together with the offset
up to which it corresponds to the log. Wherever a process dies, reading the log from that offset on makes
it whole; so its writes need no fsync, only order, which its write-ahead log gives. A store that is damaged,
or that the log no longer reaches back to, is deleted and rebuilt from nothing. One that can't be written is
closed (`StateFailed`): the stage is started anew, and reads on from where its store ends.
"""

# aiokafka is annotated only in part.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false

import asyncio
import contextlib
import logging
import shutil
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import cast

from aiokafka import AIOKafkaConsumer
from aiokafka.structs import TopicPartition
from rocksdict import Options, Rdict, ReadOptions, WriteBatch

from streams.disk import StateFailed, failed, is_refusal
from streams.settings import Settings
from topics.errors import Unavailable
from topics.flow import Write

log = logging.getLogger(__name__)

WRITE_BUFFER_BYTES = 8 * 1024 * 1024
"""RocksDB's default of 64 MB for each of many partitions would be most of a worker's memory."""

RESTORE_RECORDS_MAX = 5_000
"""Changelog records applied in one write batch."""

RESTORE_POLL_MS = 200

_OFFSET = b"\x00"
"""The key of the changelog offset; it sorts before all entries, which begin with `_ENTRY`."""

_ENTRY = b"\x01"
_AFTER_ENTRIES = b"\x02"

Report = Callable[[int, int], None]
"""Told of a partition how many changelog records remain to be read."""


class Empty:
    """The state of a stage that keeps none."""

    def get(self, key: bytes) -> bytes | None:
        return None

    def scan(self, prefix: bytes) -> Iterator[tuple[bytes, bytes]]:
        return iter(())


class Store:
    """Implements `topics.flow.State`: what is committed, under the pending writes of the running batch.

    Raises `StateFailed` where the disk fails it; one whose files turn out damaged is deleted at its close.
    """

    def __init__(self, path: Path) -> None:
        path.mkdir(parents=True, exist_ok=True)
        self._path = path
        self._damaged = False
        self._db = Rdict(str(path), _options())
        self._pending: dict[bytes, bytes | None] = {}
        try:
            stored = self._db.get(_OFFSET)
        except Exception:
            self._db.close()  # its lock would stay as long as the exception does
            raise
        self.offset = int.from_bytes(stored) if stored is not None else 0
        """The changelog offset up to which the store is whole."""

    def get(self, key: bytes) -> bytes | None:
        if key in self._pending:
            return self._pending[key]
        try:
            return self._db.get(_ENTRY + key)
        except Exception as error:  # noqa: BLE001 - rocksdict raises nothing more precise
            raise self._unread(error) from None

    def scan(self, prefix: bytes) -> Iterator[tuple[bytes, bytes]]:
        """Ascending by key. Writes that are made pending while it runs are not seen."""
        pending = sorted((k, v) for k, v in self._pending.items() if k.startswith(prefix))
        return _merged(iter(pending), self._stored(prefix)) if pending else self._stored(prefix)

    def pend(self, writes: Iterable[Write]) -> None:
        self._pending.update(writes)

    def commit(self, offset: int) -> None:
        """The pending writes stand on the changelog, which now ends at `offset`."""
        self._write(self._pending.items(), offset)
        self._pending.clear()

    def restore(self, writes: Iterable[tuple[bytes, bytes | None]], offset: int) -> None:
        self._write(writes, offset)

    def close(self) -> None:
        """Closed it is in any case; what RocksDB can't flush any more stands on the changelog."""
        with contextlib.suppress(Exception):
            self._db.close()
        if self._damaged:
            shutil.rmtree(self._path, ignore_errors=True)

    def _stored(self, prefix: bytes) -> Iterator[tuple[bytes, bytes]]:
        start = last = _ENTRY + prefix
        entries = self._db.items(from_key=start, read_opt=_bounds_of_entries())
        for key, value in cast("Iterator[tuple[bytes, bytes]]", entries):
            if not key.startswith(start):
                return
            last = key
            yield key[1:], value
        self._ensure_end(last)

    def _ensure_end(self, last: bytes) -> None:
        """rocksdict's iterator ends where it can't read on, and does not say so: ask why there is no more."""
        beyond = self._db.iter(_bounds_of_entries())
        try:
            beyond.seek(last)
            if beyond.valid():
                beyond.next()
            beyond.status()
        except Exception as error:  # noqa: BLE001 - rocksdict raises nothing more precise
            raise self._unread(error) from None

    def _unread(self, error: Exception) -> StateFailed:
        if is_refusal(error):
            return failed(self._path, error)
        self._damaged = True
        return StateFailed(
            f"the state in {self._path} is damaged ({error}): it is rebuilt from its changelog"
        )

    def _write(self, writes: Iterable[tuple[bytes, bytes | None]], offset: int) -> None:
        batch = WriteBatch(raw_mode=True)
        for key, value in writes:
            if value is None:
                batch.delete(_ENTRY + key)
            else:
                batch.put(_ENTRY + key, value)
        batch.put(_OFFSET, offset.to_bytes(8))
        try:
            self._db.write(batch)
        except Exception as error:  # noqa: BLE001 - rocksdict raises nothing more precise
            raise failed(self._path, error) from None
        self.offset = offset


def _merged(
    pending: Iterator[tuple[bytes, bytes | None]], stored: Iterator[tuple[bytes, bytes]]
) -> Iterator[tuple[bytes, bytes]]:
    """Both ascending by key; where both have a key the pending write counts, and None deletes."""
    over, under = next(pending, None), next(stored, None)
    while over is not None or under is not None:
        if over is None or (under is not None and under[0] < over[0]):
            assert under is not None
            yield under
            under = next(stored, None)
            continue
        if under is not None and under[0] == over[0]:
            under = next(stored, None)
        key, value = over
        if value is not None:
            yield key, value
        over = next(pending, None)


def open_store(path: Path) -> Store:
    """The store at `path`; one that is damaged is deleted and begins empty. Raises `Unavailable`."""
    try:
        return Store(path)
    except Exception as error:  # noqa: BLE001 - rocksdict raises nothing more precise
        if _is_locked(error):
            raise Unavailable(f"the state in {path} is in use: {error}") from None
        if is_refusal(error):
            raise failed(path, error) from None
        log.warning("the state in %s can't be opened (%s): it is rebuilt from its changelog", path, error)
        return renewed_store(path)


def _is_locked(error: Exception) -> bool:
    """Somebody holds the store open, which must not be deleted under their feet."""
    return "While lock file" in str(error) or "lock hold by current process" in str(error)


def renewed_store(path: Path) -> Store:
    shutil.rmtree(path, ignore_errors=True)
    return Store(path)


def _bounds_of_entries() -> ReadOptions:
    bounds = ReadOptions()
    bounds.set_iterate_upper_bound(_AFTER_ENTRIES)
    return bounds


def _options() -> Options:
    options = Options(raw_mode=True)
    options.create_if_missing(True)
    options.set_write_buffer_size(WRITE_BUFFER_BYTES)
    options.set_max_write_buffer_number(2)
    options.set_keep_log_file_num(1)
    return options


# ---------------------------------------------------------------- restoring


async def open_restored(
    settings: Settings, changelog: str, paths: Mapping[int, Path], report: Report
) -> AsyncIterator[tuple[int, Store]]:
    """Opens the stores of the partitions in `paths` and yields each as soon as it is whole.

    Call it when no transaction of an earlier owner can commit any more: what stands on the changelog by
    now is all there will be. Records of open transactions are waited for. The caller closes what it gets.
    """
    topic = settings.topic(changelog)
    starts, ends = await _bounds(settings, [TopicPartition(topic, number) for number in paths])
    behind: dict[TopicPartition, Store] = {}
    try:
        for tp, end in ends.items():
            store = await opened(paths[tp.partition], starts[tp], end)
            report(tp.partition, end - store.offset)
            if store.offset == end:
                yield tp.partition, store
            else:
                behind[tp] = store
        if behind:
            async for tp in _caught_up(settings, behind, ends, report):
                yield tp.partition, behind.pop(tp)
    finally:
        for store in behind.values():
            store.close()


async def opened(path: Path, start: int, end: int) -> Store:
    """The store at `path`; a new one if it does not fit the changelog, which goes from `start` to `end`.

    Opened in a thread, which can't be cancelled: a store that nobody waits for any more is closed again.
    """
    opening = asyncio.ensure_future(asyncio.to_thread(_open_within, path, start, end))
    try:
        return await asyncio.shield(opening)
    except asyncio.CancelledError:
        await asyncio.wait([opening])
        if opening.exception() is None:
            opening.result().close()
        raise


def _open_within(path: Path, start: int, end: int) -> Store:
    store = open_store(path)
    if store.offset > end or (0 < store.offset < start):
        log.warning("the state in %s does not fit its changelog: it is rebuilt from there", path)
        store.close()
        store = renewed_store(path)
    return store


async def _caught_up(
    settings: Settings,
    behind: Mapping[TopicPartition, Store],
    ends: Mapping[TopicPartition, int],
    report: Report,
) -> AsyncIterator[TopicPartition]:
    isolation = "read_committed" if settings.guarantee == "exactly_once" else "read_uncommitted"
    left = set(behind)
    async with _reader(settings, isolation) as reader:
        reader.assign(list(left))
        for tp in left:
            reader.seek(tp, behind[tp].offset)
        while left:
            batch = await reader.getmany(timeout_ms=RESTORE_POLL_MS, max_records=RESTORE_RECORDS_MAX)
            for tp in list(left):
                # Markers of transactions have offsets too: the position tells more than the last record.
                offset = await reader.position(tp)
                writes = [(record.key or b"", record.value) for record in batch.get(tp, [])]
                behind[tp].restore(writes, offset)
                report(tp.partition, max(0, ends[tp] - offset))
                if offset >= ends[tp]:
                    left.remove(tp)
                    reader.pause(tp)
                    yield tp


async def _bounds(
    settings: Settings, partitions: list[TopicPartition]
) -> tuple[dict[TopicPartition, int], dict[TopicPartition, int]]:
    """First and next offset of each; `read_uncommitted`, so that open transactions count as being there."""
    async with _reader(settings, "read_uncommitted") as reader:
        return await reader.beginning_offsets(partitions), await reader.end_offsets(partitions)


@contextlib.asynccontextmanager
async def _reader(settings: Settings, isolation: str) -> AsyncGenerator[AIOKafkaConsumer]:
    reader = AIOKafkaConsumer(
        **settings.client_options(),
        isolation_level=isolation,
        enable_auto_commit=False,
        auto_offset_reset="earliest",
    )
    await reader.start()
    try:
        yield reader
    finally:
        await reader.stop()
