"""The store: reads see pending writes, in order, and a commit keeps them with their offset."""

import asyncio
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from streams.state import Store, opened
from topics.errors import Unavailable
from topics.flow import Write


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    store = Store(tmp_path / "store")
    store.pend([Write(key, key) for key in (b"a/1", b"a/2", b"b/1", b"a/4")])
    store.commit(4)
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


def test_what_was_not_committed_is_gone_when_the_store_is_opened_again(tmp_path: Path) -> None:
    store = Store(tmp_path / "store")
    store.pend([Write(b"kept", b"1")])
    store.commit(7)
    store.pend([Write(b"kept", b"2"), Write(b"lost", b"1")])
    store.close()
    again = Store(tmp_path / "store")
    assert (dict(again.scan(b"")), again.offset) == ({b"kept": b"1"}, 7)
    again.close()


async def test_an_opening_that_is_cancelled_leaves_the_store_closed_and_whole(tmp_path: Path) -> None:
    """A rebalance may come while a store is being opened, and the next assignment opens it again."""
    with closing(Store(tmp_path / "s")) as store:
        store.pend([Write(b"k", b"v")])
        store.commit(7)
    opening = asyncio.create_task(opened(tmp_path / "s", start=0, end=7))
    await asyncio.sleep(0)
    opening.cancel()
    await asyncio.wait([opening])
    with closing(await opened(tmp_path / "s", start=0, end=7)) as store:
        assert (opening.cancelled(), store.offset, dict(store.scan(b""))) == (True, 7, {b"k": b"v"})


async def test_a_store_in_use_is_not_deleted(tmp_path: Path) -> None:
    with closing(Store(tmp_path / "s")) as store:
        store.pend([Write(b"k", b"v")])
        store.commit(7)
        with pytest.raises(Unavailable, match="in use"):
            await opened(tmp_path / "s", start=0, end=7)
        assert dict(store.scan(b"")) == {b"k": b"v"}
