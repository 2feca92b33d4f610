"""What the figures were measured on, as far as it matters: cores, memory, and what a sync to disk takes."""

import os
import platform
import statistics
import time
from pathlib import Path
from typing import Any

import psutil

SYNCS = 100
PAGE = b"x" * 8192


def machine(folder: Path) -> dict[str, Any]:
    """`folder` is on the disk that all servers write to."""
    return {
        "processor": _processor(),
        "memory_gb": round(psutil.virtual_memory().total / 2**30),
        "system": f"{platform.system()} {platform.machine()}",
        "file_system": _file_system(folder),
        "sync_of_8_kb_ms_p50": round(sync_ms(folder), 3),
    }


def sync_ms(folder: Path) -> float:
    """A commit of a database that syncs takes at least this."""
    took: list[float] = []
    with (folder / "synced").open("wb", buffering=0) as file:
        for _ in range(SYNCS):
            began = time.perf_counter()
            file.write(PAGE)
            os.fsync(file.fileno())
            took.append(time.perf_counter() - began)
    return statistics.median(took) * 1000


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    names = (
        [line for line in info.read_text().splitlines() if line.startswith("model name")]
        if info.exists()
        else []
    )
    return names[0].partition(": ")[2] if names else platform.processor()


def _file_system(folder: Path) -> str:
    mounts = [
        part for part in psutil.disk_partitions(all=True) if folder.resolve().is_relative_to(part.mountpoint)
    ]
    return max(mounts, key=lambda part: len(part.mountpoint)).fstype if mounts else "unknown"
