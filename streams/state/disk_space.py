"""Whether the disk under a stage's state can be written: asked before the stage takes partitions.

A worker whose disk is full stands aside: its stages that keep state leave their groups, so that workers with
room serve the partitions, and ask again every few seconds. Were it to join and fail, all others would stop
for each of its attempts.
"""

import os
import shutil
from errno import EACCES, EDQUOT, EMFILE, ENFILE, ENOMEM, ENOSPC, EPERM, EROFS
from pathlib import Path

from segue.topics.errors import Unavailable

ROOM_BYTES_MIN = 16 * 1024 * 1024
"""Two of RocksDB's write buffers: what a store needs to go on at all."""

REFUSALS = tuple(map(os.strerror, (EACCES, EDQUOT, EMFILE, ENFILE, ENOMEM, ENOSPC, EPERM, EROFS)))
"""What an operating system says that denies something: it tells nothing about what stands on the disk."""

REMEDY = "make room there or set SEGUE_STATE_DIR; no task is lost, and other workers serve its partitions"


class StateFailed(Unavailable):
    """A disk did not take or give what a store asked for; what counts stands on the changelog."""


def ensure_room(folder: Path) -> None:
    """Raises `StateFailed` where a store would soon fail. Makes the folder."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        free = shutil.disk_usage(folder).free
    except OSError as error:
        raise failed(folder, error) from None
    if free < ROOM_BYTES_MIN:
        raise StateFailed(f"less than {ROOM_BYTES_MIN // 2**20} MB are free for {folder}: {REMEDY}")


def failed(path: Path, error: Exception) -> StateFailed:
    return StateFailed(f"can't use the state in {path} ({error}): {REMEDY}")


def is_refusal(error: Exception) -> bool:
    """As against damage: what is on the disk may be whole. RocksDB passes the system's words on."""
    return any(words in str(error) for words in REFUSALS)
