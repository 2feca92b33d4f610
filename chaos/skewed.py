"""Runs a module with a clock that the harness moves: what it reads as the time of day is off by an offset.

    python -m chaos.skewed MODULE ARGUMENTS

The offset stands in the file that `CHAOS_CLOCK` names, mapped into memory, so that reading it costs nothing.
`time.time` and `time.time_ns` are replaced before anything else is imported; `datetime.now` and the monotonic
clock are not, which the engine does not, and may, depend on.
"""

import mmap
import os
import runpy
import sys
import time
from pathlib import Path

from chaos.machine import CLOCK_FILE, OFFSET


def skew(clock: Path) -> None:
    right_ns = time.time_ns
    with clock.open("rb") as file:
        offset = mmap.mmap(file.fileno(), OFFSET.size, access=mmap.ACCESS_READ)

    def time_ns() -> int:
        return right_ns() + int(OFFSET.unpack_from(offset)[0])

    time.time_ns = time_ns
    time.time = lambda: time_ns() / 1e9


NICENESS = 5
"""The broker and the harness go first: in the world they have machines of their own."""

if __name__ == "__main__":
    os.nice(NICENESS)
    skew(Path(os.environ[CLOCK_FILE]))
    sys.argv = sys.argv[1:]
    runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)
