"""Ends the process groups of a worker that died: a program of its own, which outlives the worker.

It is run by its path and imports little, so that it starts fast. The worker writes `+PID` and `-PID` to its
standard input, a line each. The pipe closes when the worker ends, however it ends. Then each group that is
left is asked to end, and after `GRACE_S` killed.
"""

import contextlib
import os
import signal
import sys
import time

GRACE_S = 2.0
POLL_S = 0.05


def main() -> None:
    for ignored in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(ignored, signal.SIG_IGN)
    groups: set[int] = set()
    for line in sys.stdin:
        group = int(line[1:])
        groups.add(group) if line[0] == "+" else groups.discard(group)
    left = [group for group in groups if send(group, signal.SIGTERM)]
    until_s = time.monotonic() + GRACE_S
    while left and time.monotonic() < until_s:
        time.sleep(POLL_S)
        left = [group for group in left if send(group, 0)]
    for group in left:
        send(group, signal.SIGKILL)


def send(group: int, number: int) -> bool:
    """Whether there still is such a group."""
    with contextlib.suppress(OSError):
        os.killpg(group, number)
        return True
    return False


if __name__ == "__main__":
    main()
