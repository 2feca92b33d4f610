"""How often Python looks for garbage in cycles, in a process that is all Segue's.

A step makes some hundred objects. Python's default looks whenever there are 700 more than before, and walks
through the open tasks, and at times through all that was ever imported: with 512 tasks in flight a tenth to a
fifth of a worker's time (docs/performance.md). Reference counting, which frees nearly everything, goes on.
"""

import gc

OBJECTS = 20_000
"""More than before, until the youngest are looked through. Garbage in cycles waits so much longer."""


def look_for_garbage_less_often() -> None:
    """Call it when what is imported is imported: it stays, and is never looked through again."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(OBJECTS, 20, 20)
