"""What stands in for RocksDB: a dictionary that outlives the process which wrote it."""

from collections.abc import Callable, Iterator
from typing import Any, ClassVar

from tests.simulation.world import PROCESS, Process


class WriteBatch:
    def __init__(self, raw_mode: bool) -> None:
        self.changes: list[tuple[bytes, bytes | None]] = []

    def put(self, key: bytes, value: bytes) -> None:
        self.changes.append((key, value))

    def delete(self, key: bytes) -> None:
        self.changes.append((key, None))


class ReadOptions:
    end = b""

    def set_iterate_upper_bound(self, end: bytes) -> None:
        self.end = end


class Beyond:
    """An iterator of RocksDB, asked only whether it ended by an error: here none does."""

    def seek(self, key: bytes) -> None: ...

    def valid(self) -> bool:
        return False

    def status(self) -> None: ...


class Rdict:
    """A RocksDB in the memory that stands for the process's disk. A batch is written whole or not at all."""

    on_write: ClassVar[Callable[[Process, str, dict[bytes, bytes]], None]]
    """Told of the process, the path, and all that stands there now."""

    def __init__(self, path: str, options: Any) -> None:
        self._process = PROCESS.get()
        self._path = path
        locks = self._process.disk.setdefault("locks", {})
        if locks.get(path, self._process).dead:
            del locks[path]
        if path in locks:
            raise RuntimeError(f"IO error: While lock file: {path}")
        locks[path] = self._process
        self._entries: dict[bytes, bytes] = self._process.disk.setdefault(path, {})

    def get(self, key: bytes) -> bytes | None:
        return self._entries.get(key)

    def items(self, from_key: bytes, read_opt: ReadOptions) -> Iterator[tuple[bytes, bytes]]:
        return iter(sorted(item for item in self._entries.items() if from_key <= item[0] < read_opt.end))

    def iter(self, read_opt: ReadOptions) -> Beyond:
        return Beyond()

    def write(self, batch: WriteBatch) -> None:
        if self._process.dead:
            return
        for key, value in batch.changes:
            if value is None:
                self._entries.pop(key, None)
            else:
                self._entries[key] = value
        type(self).on_write(self._process, self._path, self._entries)

    def close(self) -> None:
        locks = self._process.disk["locks"]
        if locks.get(self._path) is self._process:
            del locks[self._path]
