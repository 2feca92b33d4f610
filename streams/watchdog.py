"""Notices code that holds the event loop, and says where: nothing else of the worker runs meanwhile.

A workflow that computes for seconds, or a tool that calls a blocking library, stops all stages, health and
signals; beyond the session timeout the group takes the worker for dead. Only a thread can still tell.
"""

import asyncio
import logging
import sys
import threading
import time
import traceback
from pathlib import Path

from mode import Service

log = logging.getLogger(__name__)

HELD_S = 2.0
"""As long as a heartbeat is apart: time to say so before the group takes the worker for dead."""

BEAT_S = 0.5

FRAMES = 5
"""Of the innermost calls, those that are told."""


class Watchdog(Service):
    """For the loop that starts it, in the thread that runs that."""

    def __init__(self) -> None:
        self._beat_s = 0.0
        self._done = threading.Event()
        super().__init__()  # pyright: ignore[reportUnknownMemberType] # mode annotates in part

    async def on_start(self) -> None:
        self._beat_s = time.monotonic()
        self._beating = asyncio.create_task(self._beat())
        watched = threading.get_ident()
        threading.Thread(target=self._watch, args=(watched,), name="watchdog", daemon=True).start()

    async def on_stop(self) -> None:
        self._done.set()
        self._beating.cancel()

    async def _beat(self) -> None:
        while True:
            self._beat_s = time.monotonic()
            await asyncio.sleep(BEAT_S)

    def _watch(self, watched: int) -> None:
        told_s = 0.0
        """The last beat before what was told of."""
        while not self._done.wait(BEAT_S):
            beat_s, now_s = self._beat_s, time.monotonic()
            if now_s - beat_s > HELD_S and beat_s != told_s:
                told_s = beat_s
                log.error(
                    "nothing else of this worker has run for %.0f s, it is held by %s: "
                    "what blocks or computes for long belongs into a tool, under asyncio.to_thread(…)",
                    *(now_s - beat_s, place_of(watched)),
                )


def place_of(thread: int) -> str:
    """Where that thread is: the innermost calls, the last one first."""
    frame = sys._current_frames().get(thread)  # pyright: ignore[reportPrivateUsage]
    calls = traceback.extract_stack(frame)[-FRAMES:] if frame is not None else []
    return " <- ".join(f"{call.name} ({Path(call.filename).name}:{call.lineno})" for call in reversed(calls))
