"""What a worker stands on, to be broken alone: a disk that can fill, a clock that can be moved.

The disk is a small tmpfs over the worker's state folder, so root is needed, or a user namespace
(`unshare --map-root-user --mount make chaos`). Where neither is permitted the disk can't be filled: the run
says so, and its figures name what was skipped.

The clock is an offset in a file that `chaos.skewed` adds to what the worker reads as the time of day. Like a
clock that somebody sets, it leaves the monotonic one alone.
"""

import contextlib
import struct
import subprocess
from pathlib import Path

DISK_MB = 256
"""A worker may hold all stores, and each has two write buffers and their logs, of 8 MB."""

OFFSET = struct.Struct("<q")
"""Nanoseconds."""

CLOCK_FILE = "CHAOS_CLOCK"


class Machine:
    """A worker that takes the place of another takes its disk and name."""

    def __init__(self, number: int, folder: Path) -> None:
        self.name = f"worker-{number}"
        self.disk = folder / "state" / self.name
        self.disk.mkdir(parents=True)
        self._clock = folder / f"{self.name}.clock"
        self._ballast = self.disk / "ballast"
        self.is_small = _mounted(self.disk)
        self.set_clock(0.0)

    @property
    def env(self) -> dict[str, str]:
        return {
            "SEGUE_WORKER_ID": self.name,
            "SEGUE_STATE_DIR": str(self.disk),
            CLOCK_FILE: str(self._clock),
        }

    def set_clock(self, offset_s: float) -> None:
        """In place: workers have the file mapped."""
        with self._clock.open("r+b" if self._clock.exists() else "wb") as file:
            file.write(OFFSET.pack(round(offset_s * 1e9)))

    def fill_disk(self) -> None:
        """To the last byte."""
        assert self.is_small
        with contextlib.suppress(OSError), self._ballast.open("wb", buffering=0) as ballast:
            while ballast.write(bytes(2**20)):
                pass

    def empty_disk(self) -> None:
        self._ballast.unlink(missing_ok=True)

    def scrap(self) -> None:
        """What was on the disk is gone."""
        if self.is_small:
            subprocess.run(["umount", "--lazy", self.disk], check=False)


def _mounted(disk: Path) -> bool:
    options = f"size={DISK_MB}m,mode=700"
    command = ["mount", "-t", "tmpfs", "-o", options, "segue-chaos", str(disk)]
    try:
        return subprocess.run(command, check=False, capture_output=True).returncode == 0
    except FileNotFoundError:
        return False
