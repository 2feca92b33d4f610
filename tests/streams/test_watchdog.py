"""Code that holds the event loop is told of, with its place, once."""

import asyncio
import time

import pytest

import streams.watchdog
from streams.watchdog import Watchdog


def computes(seconds: float) -> None:
    time.sleep(seconds)


async def test_who_holds_the_loop_is_told_once_and_again_the_next_time(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(streams.watchdog, "BEAT_S", 0.05)
    watchdog = Watchdog()
    await watchdog.start()
    for told in (1, 2):
        computes(0.6)
        await asyncio.sleep(0.2)
        assert len(caplog.messages) == told
        assert "held by computes (test_watchdog.py:" in caplog.messages[-1]
    await watchdog.stop()
    computes(0.6)
    assert len(caplog.messages) == 2


async def test_a_loop_that_goes_on_is_not_told_of(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(streams.watchdog, "BEAT_S", 0.05)
    watchdog = Watchdog()
    await watchdog.start()
    for _ in range(10):
        await asyncio.sleep(0.05)
    await watchdog.stop()
    assert caplog.messages == []
