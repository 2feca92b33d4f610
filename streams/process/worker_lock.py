"""A worker's name: a slot, not a process.

The lock file in the worker's state folder is held while the worker lives, and the next process that finds it
free takes the same name. It thereby takes the same transactional ids, which ends the open transactions of one
that was killed, and finds its state on disk, of which only the end is missing.

The file says which app works there, and on whose topics. Workers of two apps would share their tasks out
between them, and each would reject what the other knows.
"""

import fcntl
import itertools
import json
import re
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any, cast

from segue.streams.settings import Settings
from segue.topics.errors import BadInput, Unavailable


class WorkerLock:
    """Held by a lock that the operating system frees when the process ends, however."""

    def __init__(self, settings: Settings, app: str) -> None:
        self.name, self._lock = _locked(settings)
        self._place: dict[str, Any] = {"kafka": settings.bootstrap, "prefix": settings.topic_prefix}
        self._app = app
        self._folder = settings.state_dir
        self._lock.truncate(0)
        self._lock.write(json.dumps({"app": app, **self._place}))
        self._lock.flush()

    def free(self) -> None:
        self._lock.close()

    def intruded(self) -> str | None:
        """What to do about another app whose worker runs on the same topics, as far as this folder knows."""
        others = sorted({work["app"] for work in self._going_on()} - {self._app})
        if not others:
            return None
        own = re.sub(r"[^A-Za-z0-9._-]", "-", self._app)
        return (
            f"app {' and '.join(map(repr, others))} works on these topics already, and each would reject the "
            f"tasks of the other: stop that, or give {self._app!r} topics of its own, "
            f"SEGUE_TOPIC_PREFIX={own}-"
        )

    def _going_on(self) -> Iterator[dict[str, Any]]:
        """Only the lock of one that may be in the way is touched: somebody may be about to take it."""
        for path in self._folder.glob("*/lock"):
            work = _work(path)
            another = work.get("app") not in (None, self._app)
            if another and work.items() >= self._place.items() and _is_locked(path):
                yield work


def _work(path: Path) -> dict[str, Any]:
    try:
        work = json.loads(path.read_text())
    except (OSError, ValueError):  # the broker's own lock; or one that is being written
        return {}
    return cast("dict[str, Any]", work) if isinstance(work, dict) else {}


def _is_locked(path: Path) -> bool:
    try:
        with path.open() as lock:
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return False
    return False


def _locked(settings: Settings) -> tuple[str, IO[str]]:
    if settings.worker_id is not None:
        lock = _lock(settings, settings.worker_id)
        if lock is None:
            raise BadInput(f"a worker {settings.worker_id!r} already runs here: set another SEGUE_WORKER_ID")
        return settings.worker_id, lock
    host = socket.gethostname().split(".")[0] or "worker"
    for number in itertools.count(1):
        name = f"{host}-{number}"
        if (lock := _lock(settings, name)) is not None:
            return name, lock
    raise AssertionError("unreachable: the numbers do not end")


def _lock(settings: Settings, name: str) -> IO[str] | None:
    directory = settings.state_dir / name
    try:
        directory.mkdir(parents=True, exist_ok=True)
        lock = (directory / "lock").open("a")
    except OSError as error:
        raise Unavailable(
            f"can't write to {directory}: {error.strerror}; fix that or set SEGUE_STATE_DIR to another folder"
        ) from None
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        lock.close()
        return None
    return lock
