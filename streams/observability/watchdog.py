"""Notices code that holds the event loop, and says where: nothing else of the worker runs meanwhile.

A workflow that computes for seconds, or a tool that calls a blocking library, stops all stages, health and
signals; beyond the session timeout the group takes the worker for dead. Only a thread can still tell. It
counts beats rather than time, since it stands still itself where the process or its machine does.
"""

import asyncio
import logging
import sys
import threading
import traceback
from pathlib import Path

from mode import Service

log = logging.getLogger(__name__)

BEAT_S = 0.5

BEATS = 4
"""So many that were missed in a row are told of, before the group takes the worker for dead."""

FRAMES = 5
"""Of the innermost calls, those that are told."""


class Watchdog(Service):
    """For the loop that starts it, in the thread that runs that."""

    def __init__(self) -> None:
        self._beat = 0
        self._done = threading.Event()
        super().__init__()  # pyright: ignore[reportUnknownMemberType] # mode annotates in part

    async def on_start(self) -> None:
        self._beating = asyncio.create_task(self._go_on_beating())
        watched = threading.get_ident()
        threading.Thread(target=self._watch, args=(watched,), name="watchdog", daemon=True).start()

    async def on_stop(self) -> None:
        self._done.set()
        self._beating.cancel()

    async def _go_on_beating(self) -> None:
        while True:
            self._beat += 1
            await asyncio.sleep(BEAT_S)

    def _watch(self, watched: int) -> None:
        beat, still = self._beat, 0
        while not self._done.wait(BEAT_S):
            beat, still = self._beat, still + 1 if self._beat == beat else 0
            if still == BEATS:
                log.error(
                    "the event loop of this worker has been blocked for %g s by %s: "
                    "move code that blocks or computes for long into a tool, under asyncio.to_thread(…)",
                    *(BEATS * BEAT_S, place_of(watched)),
                )


def place_of(thread: int) -> str:
    """Where that thread is: the innermost calls, the last one first."""
    frame = sys._current_frames().get(thread)  # pyright: ignore[reportPrivateUsage]
    calls = traceback.extract_stack(frame)[-FRAMES:] if frame is not None else []
    return " <- ".join(f"{call.name} ({Path(call.filename).name}:{call.lineno})" for call in reversed(calls))
