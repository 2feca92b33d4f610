"""Garbage that is old and refers to itself does not stay for days."""

import asyncio
import gc
from collections.abc import Iterator
from weakref import ref

import pytest

from segue.streams.process import garbage_collection as collector
from segue.streams.process.garbage_collection import look_for_all_garbage_soon


@pytest.fixture
def by_itself_never() -> Iterator[None]:
    """Python looks for garbage only when it is told to."""
    gc.disable()
    yield
    gc.enable()


class Cycle:
    def __init__(self) -> None:
        self.itself = self


@pytest.mark.usefixtures("by_itself_never")
async def test_what_is_old_is_looked_through_once_for_all_who_ask(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(collector, "SOON_S", 0.01)
    cycle = Cycle()
    left = ref(cycle)
    gc.collect()  # old now
    del cycle
    gc.collect(1)
    assert left() is not None
    before = gc.get_stats()[2]["collections"]
    for _ in range(3):
        look_for_all_garbage_soon()
    await asyncio.sleep(0.05)
    assert left() is None
    assert gc.get_stats()[2]["collections"] == before + 1
