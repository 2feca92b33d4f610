"""The store: reads see pending writes, in order, and a commit keeps them with their offset."""

import asyncio
import shutil
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from segue.streams.state.restore import opened
from segue.streams.state.store import CHECKPOINT_AGE_MS_MAX, Changelog, Mark, Store, fitting_store
from segue.topics.errors import Unavailable
from segue.topics.flow import Write

NOW_MS = 1_790_000_000_000
CHANGELOG = Changelog(b"", start=0, end=7)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    store = Store(tmp_path / "store")
    store.pend([Write(key, key) for key in (b"a/1", b"a/2", b"b/1", b"a/4")])
    store.commit(4, NOW_MS)
    yield store
    store.close()


def test_a_scan_sees_pending_writes_over_what_is_stored_in_the_order_of_keys(store: Store) -> None:
    store.pend(
        [Write(b"a/3", b"new"), Write(b"a/2", None), Write(b"a/4", b"changed"), Write(b"a/5", b"last")]
    )
    assert list(store.scan(b"a/")) == [
        (b"a/1", b"a/1"),
        (b"a/3", b"new"),
        (b"a/4", b"changed"),
        (b"a/5", b"last"),
    ]
    assert (store.get(b"a/2"), store.get(b"a/3")) == (None, b"new")


def test_a_scan_of_nothing_sees_everything_and_not_the_offset(store: Store) -> None:
    assert [key for key, _ in store.scan(b"")] == [b"a/1", b"a/2", b"a/4", b"b/1"]


def test_a_scan_begins_where_it_is_told_and_ends_with_its_prefix(store: Store) -> None:
    store.pend([Write(b"a/0", b"before"), Write(b"a/3", b"new"), Write(b"b/2", b"beyond")])
    assert [key for key, _ in store.scan(b"a/", b"a/2")] == [b"a/2", b"a/3", b"a/4"]
    store.pend([Write(b"a\xff\xff1", b"last")])
    store.commit(5, NOW_MS)
    assert [key for key, _ in store.scan(b"a\xff\xff")] == [b"a\xff\xff1"]


def test_what_was_not_committed_is_gone_when_the_store_is_opened_again(tmp_path: Path) -> None:
    store = Store(tmp_path / "store")
    store.pend([Write(b"kept", b"1")])
    store.commit(7, NOW_MS)
    store.pend([Write(b"kept", b"2"), Write(b"lost", b"1")])
    store.close()
    again = Store(tmp_path / "store")
    assert (dict(again.scan(b"")), again.offset) == ({b"kept": b"1"}, 7)
    again.close()


async def test_an_opening_that_is_cancelled_leaves_the_store_closed_and_whole(tmp_path: Path) -> None:
    """A rebalance may come while a store is being opened, and the next assignment opens it again."""
    with closing(Store(tmp_path / "s")) as store:
        store.pend([Write(b"k", b"v")])
        store.commit(7, NOW_MS)
    opening = asyncio.create_task(opened(tmp_path / "s", CHANGELOG))
    await asyncio.sleep(0)
    opening.cancel()
    await asyncio.wait([opening])
    with closing(await opened(tmp_path / "s", CHANGELOG)) as store:
        assert (opening.cancelled(), store.offset, dict(store.scan(b""))) == (True, 7, {b"k": b"v"})


async def test_a_store_in_use_is_not_deleted(tmp_path: Path) -> None:
    with closing(Store(tmp_path / "s")) as store:
        store.pend([Write(b"k", b"v")])
        store.commit(7, NOW_MS)
        with pytest.raises(Unavailable, match="in use"):
            await opened(tmp_path / "s", CHANGELOG)
        assert dict(store.scan(b"")) == {b"k": b"v"}


# ---------------------------------------------------------------- after a loss of power


def copies_with_a_damaged_end(path: Path, to: Path, damage: Callable[[bytes, int], bytes]) -> Iterator[Path]:
    """Copies of an open store, whose log breaks here and there along its length."""
    (log,) = path.glob("*.log")
    whole = log.read_bytes()
    for percent in range(0, 100, 4):
        copy = to / str(percent)
        shutil.copytree(path, copy, ignore=shutil.ignore_patterns("LOCK"))
        (copy / log.name).write_bytes(damage(whole, len(whole) * percent // 100))
        yield copy


def torn(log: bytes, at: int) -> bytes:
    return log[:at]


def garbled(log: bytes, at: int) -> bytes:
    """What came later may be there all the same: blocks reach a disk in any order."""
    return log[:at] + bytes(min(512, len(log) - at)) + log[at + 512 :]


@pytest.mark.parametrize("damage", [torn, garbled])
def test_a_log_that_breaks_leaves_the_writes_before_with_the_offset_that_they_reach_to(
    tmp_path: Path, damage: Callable[[bytes, int], bytes]
) -> None:
    with closing(Store(tmp_path / "s")) as store:
        for offset in range(1, 401):
            store.pend([Write(b"%03d" % offset, bytes(50)), Write(b"last", b"%d" % offset)])
            store.commit(offset, NOW_MS)
        offsets: list[int] = []
        for copy in copies_with_a_damaged_end(tmp_path / "s", tmp_path / "copies", damage):
            with closing(Store(copy)) as found:
                offsets.append(found.offset)
                expected = {b"%03d" % n: bytes(50) for n in range(1, found.offset + 1)}
                assert dict(found.scan(b"")) == expected | (
                    {b"last": b"%d" % found.offset} if expected else {}
                )
    assert offsets == sorted(offsets)
    assert (offsets[0], offsets[-1] > 350) == (0, True)


# ---------------------------------------------------------------- whether a store fits its changelog


def taken_up(path: Path, changelog: Changelog, now_ms: int = NOW_MS) -> int:
    """The offset of the store that is opened for the changelog: 0 if it was begun anew."""
    with closing(fitting_store(path, changelog, now_ms)) as store:
        return store.offset


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    """A store that is whole up to offset 5 of topic `T`."""
    with closing(Store(tmp_path / "s")) as store:
        store.restore([(b"k", b"v")], Mark(5, NOW_MS, b"T"))
    return tmp_path / "s"


def test_a_store_is_brought_up_to_date_from_its_offset(checkpoint: Path) -> None:
    for start, end in ((0, 5), (0, 9), (5, 9)):
        assert taken_up(checkpoint, Changelog(b"T", start, end)) == 5


@pytest.mark.parametrize(
    "changelog",
    [Changelog(b"of another cluster", 0, 9), Changelog(b"T", 0, 4), Changelog(b"T", 6, 9)],
    ids=["another topic", "cut off before it", "begins after it"],
)
def test_a_store_that_does_not_fit_begins_anew(checkpoint: Path, changelog: Changelog) -> None:
    assert taken_up(checkpoint, changelog) == 0


def test_a_store_that_may_have_missed_deletions_begins_anew(checkpoint: Path) -> None:
    old_ms = NOW_MS + CHECKPOINT_AGE_MS_MAX + 1
    assert taken_up(checkpoint, Changelog(b"T", 0, 5), old_ms) == 5  # nothing happened since
    assert taken_up(checkpoint, Changelog(b"T", 0, 9), old_ms - 1) == 5
    assert taken_up(checkpoint, Changelog(b"T", 0, 9), old_ms) == 0


def test_a_store_from_the_future_begins_anew(checkpoint: Path) -> None:
    """The clock was set back: nobody knows how old it is."""
    assert taken_up(checkpoint, Changelog(b"T", 0, 9), NOW_MS - 1) == 0
