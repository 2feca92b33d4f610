"""Where every task stands, in few bytes each: lists of 100,000 are counted, filtered and turned over at once.

Of a task only what lists go by is kept beside the bytes of its status, compressed, which are decoded where
they are shown.
"""

import logging
import zlib
from collections import Counter
from collections.abc import Iterable, Sequence
from itertools import islice
from sys import intern
from typing import NamedTuple

from segue.topics import codec
from segue.topics.errors import BadRecord
from segue.topics.records import STATES, Question, Status

log = logging.getLogger(__name__)

FAST = 1
"""zlib's level: a few microseconds for each status. Large views are text, which takes a fraction then."""


class Row(NamedTuple):
    """`asked_ms`: when each of its open questions was asked."""

    started_ms: int
    task: str
    workflow: str
    state: str
    parent: str | None
    asked_ms: tuple[int, ...]


class Wanted(NamedTuple):
    """Which tasks; what is empty does not matter. `text` stands somewhere in the id."""

    state: str = ""
    workflow: str = ""
    text: str = ""


class Found(NamedTuple):
    """`counts` are of all states, whichever was wanted."""

    rows: Sequence[Row]
    counts: dict[str, int]


class Index:
    def __init__(self) -> None:
        self._values: dict[str, bytes] = {}
        self._rows: dict[str, Row] = {}
        self._newest: list[Row] | None = None

    def put(self, task: str, value: bytes | None) -> None:
        """The task's latest status; None if it is forgotten. What a newer Segue wrote is left out."""
        self._newest = None
        self._rows.pop(task, None)
        self._values.pop(task, None)
        try:
            status: Status | None = None if value is None else codec.decode("status", value)
        except BadRecord as bad:
            log.warning("the status of task %r can't be read and is left out: %s", task, bad)
            return
        if value is not None and status is not None:
            self._rows[task], self._values[task] = _row(status), zlib.compress(value, FAST)

    def status(self, task: str) -> Status | None:
        value = self._values.get(task)
        return None if value is None else codec.decode("status", zlib.decompress(value))

    def statuses(self, rows: Iterable[Row]) -> list[Status]:
        return [status for row in rows if (status := self.status(row.task))]

    @property
    def newest(self) -> list[Row]:
        if self._newest is None:
            self._newest = sorted(self._rows.values(), reverse=True)
        return self._newest

    @property
    def workflows(self) -> list[str]:
        return sorted({row.workflow for row in self._rows.values()})

    def find(self, wanted: Wanted) -> Found:
        text, rows = wanted.text.casefold(), self.newest
        if wanted.workflow or text:
            rows = [
                row
                for row in rows
                if (not wanted.workflow or row.workflow == wanted.workflow) and text in row.task.casefold()
            ]
        counted = Counter(row.state for row in rows)
        counts = {state: counted[state] for state in STATES if counted[state]}
        if wanted.state:
            rows = [row for row in rows if row.state == wanted.state]
        return Found(rows, counts)

    def children(self, task: str, limit: int) -> list[Status]:
        """The newest of them."""
        return self.statuses(islice((row for row in self.newest if row.parent == task), limit))

    @property
    def asking(self) -> int:
        return sum(len(row.asked_ms) for row in self._rows.values())

    def questions(self) -> list[Question]:
        """All that are open, the oldest first."""
        asking = [row for row in self._rows.values() if row.asked_ms]
        found = [question for status in self.statuses(asking) for question in status.questions]
        return sorted(found, key=lambda question: (question.at_ms, question.task, question.step))


def _row(status: Status) -> Row:
    asked_ms = tuple(question.at_ms for question in status.questions)
    return Row(
        status.started_ms,
        status.task,
        intern(status.workflow),
        intern(status.state),
        status.parent,
        asked_ms,
    )
