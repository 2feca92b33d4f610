"""A disk that is full or damaged costs a store nothing but time: on a real file system that really is."""

from contextlib import closing
from pathlib import Path

import pytest

from chaos.machine import Machine
from segue.streams.state.disk_space import StateFailed, ensure_room
from segue.streams.state.store import Store, open_store
from segue.topics.flow import Write


def filled(path: Path, entries: int = 10, bytes_each: int = 1_000) -> Store:
    store = Store(path)
    for n in range(1, entries + 1):
        store.pend([Write(b"%05d" % n, bytes([n % 256]) * bytes_each)])
        store.commit(n, at_ms=0)
    return store


def test_what_a_full_disk_does_not_take_is_missing_and_nothing_else(machine: Machine) -> None:
    with closing(filled(machine.disk / "s")) as store:
        machine.fill_disk()
        store.pend([Write(b"more", b"x" * 10_000)])
        with pytest.raises(StateFailed, match="make room"):
            store.commit(11, at_ms=0)
    machine.empty_disk()
    with closing(open_store(machine.disk / "s")) as store:
        assert (store.offset, len(list(store.scan(b"")))) == (10, 10)


def test_a_store_is_not_taken_for_damaged_because_the_disk_is_full(machine: Machine) -> None:
    filled(machine.disk / "s").close()
    machine.fill_disk()
    for path in (machine.disk / "s", machine.disk / "new"):
        with pytest.raises(StateFailed, match="No space left"):
            open_store(path)
    machine.empty_disk()
    with closing(open_store(machine.disk / "s")) as store:
        assert store.offset == 10


def test_a_stage_does_not_begin_where_there_is_no_room(machine: Machine) -> None:
    ensure_room(machine.disk)
    machine.fill_disk()
    with pytest.raises(StateFailed, match="make room"):
        ensure_room(machine.disk)


def test_damage_in_the_middle_is_told_and_the_store_begins_anew(tmp_path: Path) -> None:
    """A scan that ended at the damage would be a journal without its end."""
    filled(tmp_path / "s", entries=2_000).close()
    (table,) = (tmp_path / "s").glob("*.sst")
    with table.open("r+b") as file:
        file.seek(table.stat().st_size // 4)
        file.write(b"\xff" * 10_000)
    with closing(open_store(tmp_path / "s")) as store, pytest.raises(StateFailed, match="is damaged"):
        list(store.scan(b""))
    with closing(open_store(tmp_path / "s")) as store:
        assert (store.offset, list(store.scan(b""))) == (0, [])
