"""How often Python looks for garbage in cycles, in a process that is all Segue's.

A step makes some hundred objects. Python's default looks whenever there are 700 more than before, and walks
through the open tasks, and at times through all that was ever imported: with 512 tasks in flight a tenth to a
fifth of a worker's time (docs/performance.md). Reference counting, which frees nearly everything, goes on.

What a stage leaves when its group rebalances or it starts again (a consumer, its connections, what they know
of the cluster) refers to itself in cycles, and is old by then. There Python would look after days.
"""

import asyncio
import gc

OBJECTS = 20_000
"""More than before, until the youngest are looked through. Garbage in cycles waits so much longer."""


def look_for_garbage_less_often() -> None:
    """Call it when what is imported is imported: it stays, and is never looked through again."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(OBJECTS, 20, 20)


SOON_S = 5.0
"""After the last time that something was left: requests that were on their way hold on to it until then."""

_soon: asyncio.TimerHandle | None = None


def look_for_all_garbage_soon() -> None:
    """Once for all who ask within `SOON_S` of each other."""
    global _soon  # noqa: PLW0603 - as the collector itself, one for the process
    if _soon is not None:
        _soon.cancel()
    _soon = asyncio.get_running_loop().call_later(SOON_S, gc.collect)
