"""Code that holds the event loop is told of, with its place, once."""

import asyncio
import time
from collections.abc import AsyncGenerator

import pytest
import pytest_asyncio

import segue.streams.observability.watchdog
from segue.streams.observability.watchdog import Watchdog


@pytest_asyncio.fixture
async def watchdog(monkeypatch: pytest.MonkeyPatch) -> AsyncGenerator[Watchdog]:
    monkeypatch.setattr(segue.streams.observability.watchdog, "BEAT_S", 0.05)
    watchdog = Watchdog()
    await watchdog.start()
    yield watchdog
    await watchdog.stop()


def computes(seconds: float) -> None:
    time.sleep(seconds)


async def test_who_holds_the_loop_is_told_once_and_again_the_next_time(
    watchdog: Watchdog, caplog: pytest.LogCaptureFixture
) -> None:
    for told in (1, 2):
        computes(0.6)
        await asyncio.sleep(0.2)
        assert len(caplog.messages) == told
        assert "s by computes (test_watchdog.py:" in caplog.messages[-1]
    await watchdog.stop()
    computes(0.6)
    assert len(caplog.messages) == 2


@pytest.mark.usefixtures("watchdog")
async def test_a_loop_that_goes_on_is_not_told_of(caplog: pytest.LogCaptureFixture) -> None:
    for _ in range(10):
        await asyncio.sleep(0.05)
    assert caplog.messages == []
