"""A stage's state on one partition: a RocksDB beside a changelog topic, restorable from it (see `restore`).

    reads ─▶ pending writes of the batch ─▶ RocksDB
    commit ─▶ changelog, in the batch's transaction ─▶ RocksDB, with the changelog offset, in one write batch

RocksDB never holds more than the changelog: it is written after the commit, and together with the offset
up to which it corresponds to the log. Wherever a process dies, reading the log from that offset on makes
it whole; so its writes need no fsync, only order, which its write-ahead log gives: where a loss of power has
torn or garbled that, the writes before the damage count. A store that is damaged, or that does not fit the
changelog any more, is deleted and rebuilt from nothing. One that can't be written is closed (`StateFailed`):
the stage is started anew, and reads on from where its store ends.
"""

import contextlib
import logging
import shutil
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple, Self, cast

from rocksdict import (
    BlockBasedOptions,
    Cache,
    DBRecoveryMode,
    Options,
    Rdict,
    ReadOptions,
    WriteBatch,
    WriteBufferManager,
)

from segue.streams.state.disk_space import StateFailed, failed, is_refusal
from segue.topics.contracts import OF_THE_ENGINE, TOMBSTONES_KEPT_MS
from segue.topics.errors import Unavailable
from segue.topics.flow import Write

log = logging.getLogger(__name__)

WRITE_BUFFER_BYTES = 8 * 1024 * 1024
"""RocksDB's default of 64 MB for each of many partitions would be most of a worker's memory."""

WRITE_BUFFERS = WriteBufferManager(4 * WRITE_BUFFER_BYTES, allow_stall=False)
BLOCKS = Cache(16 * 1024 * 1024)
"""What has not been written to a file yet, and what was read from one: of all stores of the process together,
so that a worker with many partitions is no larger than one with few."""

BLOOM_BITS = 10
"""Of each key: whether an id was used before is asked for each new task, and the answer is mostly no."""

CHECKPOINT_AGE_MS_MAX = TOMBSTONES_KEPT_MS // 2
"""An older one may have missed deletions that the changelog has forgotten. The other half is for reading."""

_MARK = b"\x00"
"""The key of the mark; it sorts before all entries, which begin with `_ENTRY`."""

_ENTRY = b"\x01"

ENGINE = OF_THE_ENGINE
"""Before the keys of the engine's own entries: stages that scan all of their state don't see them."""


class Changelog(NamedTuple):
    """A changelog's partition as it is now: its topic's id, its first and its next offset."""

    topic: bytes
    start: int
    end: int


class Mark(NamedTuple):
    """The store is what the changelog says up to `offset`; nothing of it was missed before `at_ms`."""

    offset: int = 0
    at_ms: int = 0
    topic: bytes = b""

    def pack(self) -> bytes:
        return self.offset.to_bytes(8) + self.at_ms.to_bytes(8) + self.topic

    @classmethod
    def unpack(cls, stored: bytes | None) -> Self:
        if stored is None:
            return cls()
        return cls(int.from_bytes(stored[:8]), int.from_bytes(stored[8:16]), stored[16:])


class Empty:
    """The state of a stage that keeps none."""

    def get(self, key: bytes) -> bytes | None:
        return None

    def scan(self, prefix: bytes, start: bytes = b"") -> Iterator[tuple[bytes, bytes]]:
        return iter(())


class Store:
    """Implements `segue.topics.flow.State`: what is committed, under the pending writes of the running batch.

    Raises `StateFailed` where the disk fails it; one whose files turn out damaged is deleted at its close.
    """

    def __init__(self, path: Path) -> None:
        path.mkdir(parents=True, exist_ok=True)
        self._path = path
        self._damaged = False
        self._db = Rdict(str(path), _options())
        self._pending: dict[bytes, bytes | None] = {}
        self._written = 0
        try:
            self.mark = Mark.unpack(self._db.get(_MARK))
        except Exception:
            self._db.close()  # its lock would stay as long as the exception does
            raise

    @property
    def offset(self) -> int:
        """The changelog offset up to which the store is whole."""
        return self.mark.offset

    def get(self, key: bytes) -> bytes | None:
        if key in self._pending:
            return self._pending[key]
        try:
            return self._db.get(_ENTRY + key)
        except Exception as error:  # noqa: BLE001 - rocksdict raises nothing more precise
            raise self._unread(error) from None

    def scan(self, prefix: bytes, start: bytes = b"") -> Iterator[tuple[bytes, bytes]]:
        """Ascending by key. Writes that are made pending while it runs are not seen."""
        beyond = b"" if prefix else ENGINE
        pending = sorted(
            (k, v)
            for k, v in self._pending.items()
            if k.startswith(prefix) and k >= start and not (beyond and k >= beyond)
        )
        stored = self._stored(prefix, max(prefix, start))
        return _merged(iter(pending), stored) if pending else stored

    def all(self) -> Iterator[tuple[bytes, bytes]]:
        """What is committed, the engine's own entries too, as it stands on the changelog."""
        return ((key[1:], value) for key, value in self._within(_ENTRY, _after(_ENTRY)))

    def pend(self, writes: list[Write]) -> None:
        self._pending.update(writes)
        self._written += len(writes)

    def commit(self, offset: int, at_ms: int, *, fenced: bool = True) -> None:
        """The pending writes stand on the changelog, which ends at `offset`; their batch began at `at_ms`.

        Unless transactions fence off a worker that was replaced, what it still wrote may stand between them:
        raises `StateFailed`, for then the store must be read on from where it ends.
        """
        if not fenced and self.offset + self._written != offset:
            raise StateFailed(
                f"another worker wrote to the changelog of {self._path}: this worker "
                "reads the changelog again"
            )
        self._write(self._pending.items(), self.mark._replace(offset=offset, at_ms=at_ms))
        self._pending.clear()
        self._written = 0

    def restore(self, writes: Iterable[tuple[bytes, bytes | None]], mark: Mark) -> None:
        """What the changelog says up to `mark`."""
        self._write(writes, mark)

    def close(self) -> None:
        """Closed it is in any case; what RocksDB can't flush any more stands on the changelog."""
        with contextlib.suppress(Exception):
            self._db.close()
        if self._damaged:
            shutil.rmtree(self._path, ignore_errors=True)

    def _stored(self, prefix: bytes, start: bytes) -> Iterator[tuple[bytes, bytes]]:
        """Bounded for RocksDB too: it would pass over all that was deleted behind, to find one beyond."""
        end = _after(_ENTRY + prefix) if prefix else _ENTRY + ENGINE
        return ((key[1:], value) for key, value in self._within(_ENTRY + start, end))

    def _within(self, last: bytes, end: bytes) -> Iterator[tuple[bytes, bytes]]:
        entries = self._db.items(from_key=last, read_opt=_before(end))
        for key, value in cast("Iterator[tuple[bytes, bytes]]", entries):
            last = key
            yield key, value
        self._ensure_end(last, end)

    def _ensure_end(self, last: bytes, end: bytes) -> None:
        """rocksdict's iterator ends where it can't read on, and does not say so: ask why there is no more."""
        beyond = self._db.iter(_before(end))
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

    def _write(self, writes: Iterable[tuple[bytes, bytes | None]], mark: Mark) -> None:
        batch = WriteBatch(raw_mode=True)
        for key, value in writes:
            if value is None:
                batch.delete(_ENTRY + key)
            else:
                batch.put(_ENTRY + key, value)
        batch.put(_MARK, mark.pack())
        try:
            self._db.write(batch)
        except Exception as error:  # noqa: BLE001 - rocksdict raises nothing more precise
            raise failed(self._path, error) from None
        self.mark = mark


def _before(end: bytes) -> ReadOptions:
    bounds = ReadOptions()
    bounds.set_iterate_upper_bound(end)
    return bounds


def _after(prefix: bytes) -> bytes:
    """The first key behind all that begin with `prefix`, whose first byte is not the last one there is."""
    shorter = prefix.rstrip(b"\xff")
    return shorter[:-1] + bytes([shorter[-1] + 1])


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


def fitting_store(path: Path, changelog: Changelog, now_ms: int) -> Store:
    """The store at `path`, or a new one if it does not fit the changelog. Raises `Unavailable`."""
    store = open_store(path)
    misfit = _misfit(store.mark, changelog, now_ms)
    if misfit:
        log.warning("the state in %s %s: it is rebuilt from its changelog", path, misfit)
        store.close()
        store = renewed_store(path)
    store.mark = store.mark._replace(topic=changelog.topic)
    return store


def _misfit(mark: Mark, changelog: Changelog, now_ms: int) -> str | None:
    """Why reading the changelog from the mark on would not make the store whole; None if it would."""
    if mark.offset == 0:
        return None
    if mark.topic != changelog.topic:
        return "is that of another topic"
    if not changelog.start <= mark.offset <= changelog.end:
        return f"ends at {mark.offset}, its changelog goes from {changelog.start} to {changelog.end}"
    if mark.offset < changelog.end and not 0 <= now_ms - mark.at_ms <= CHECKPOINT_AGE_MS_MAX:
        return "is older than its changelog remembers what was deleted"
    return None


def renewed_store(path: Path) -> Store:
    shutil.rmtree(path, ignore_errors=True)
    return Store(path)


def _options() -> Options:
    options = Options(raw_mode=True)
    options.create_if_missing(True)
    options.set_write_buffer_size(WRITE_BUFFER_BYTES)
    options.set_max_write_buffer_number(2)
    options.set_write_buffer_manager(WRITE_BUFFERS)
    options.set_keep_log_file_num(1)
    options.set_wal_recovery_mode(DBRecoveryMode.point_in_time())
    tables = BlockBasedOptions()
    tables.set_bloom_filter(BLOOM_BITS, block_based=False)
    tables.set_block_cache(BLOCKS)
    options.set_block_based_table_factory(tables)
    return options
