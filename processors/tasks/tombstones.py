"""What conduct remembers of tasks that are no more, and forgets after a week or two.

    E week task  ─▶  how it ended: so that the same id does not start again, or is not rejected again;
                     what it heard, so that a copy of a signal that it took is no dead letter; and its
                     tenant, with whose key the dead letter of a signal that came too late is sealed

With a mark goes all that is left of its task: its status, and what a zombie may have written of its journal,
which at least once nobody fences.
"""

from collections.abc import Iterable, Iterator
from itertools import islice, takewhile
from urllib.parse import quote, unquote

from segue.processors.tasks.journal import journal_key
from segue.topics.contracts import DAY_MS
from segue.topics.flow import Decision, Plain, Publish, State, Write

REMEMBERED_MS = 7 * DAY_MS
"""For so long, at least, a task's id can't start another task. As long as `tasks` keeps its records."""

COUNTING = range(-2, 2)
"""The weeks, counted from this one, whose marks count. Marks are forgotten in the first of them; one of next
week is by whoever had a clock that was ahead."""

ENDED = b""
CHILD = b"child"
"""Marks of tasks that ended: their ids start no others while the marks are there."""

REJECTED = b"rejected"
"""The mark of a task that never began: it is told once, and its id may start one."""

_OF = b"@"
"""Before the tenant in a mark. The ids of what was heard are hexadecimal."""

PURGED_AT_ONCE_MAX = 200
"""A week's marks are due at once: some go with each batch, in all many times as fast as they came."""

PURGE_EVERY_MS = 60 * 60 * 1000


class Tombstones:
    """The marks of one partition."""

    def __init__(self, state: State) -> None:
        self._state = state
        self._purged_to = b""
        self.due_ms = 0

    def of(self, task: str, now_ms: int, weeks: range = COUNTING) -> list[bytes]:
        found = (self._state.get(_key(_week(now_ms) + each, task)) for each in weeks)
        return [mark.partition(b" ")[0] for mark in found if mark is not None]

    def has_heard(self, task: str, signal: str, now_ms: int) -> bool:
        """Return whether the task took this answer, signal or cancellation before it ended."""
        return any(signal.encode() in words for words in self._words(task, now_ms))

    def tenant_of(self, task: str, now_ms: int) -> str | None:
        """Return the tenant of a task that ended, "" if it had none; None if no such task is known."""
        tenant = None
        for words in self._words(task, now_ms):
            tenant = next((unquote(word[1:]) for word in words if word.startswith(_OF)), "")
        return tenant

    def _words(self, task: str, now_ms: int) -> Iterator[list[bytes]]:
        """Yield what stands behind how the task ended, in each of its marks."""
        for week in COUNTING:
            found = self._state.get(_key(_week(now_ms) + week, task))
            if found is not None and not found.startswith(REJECTED):
                yield found.split(b" ")[1:]

    def has_ended(self, task: str, now_ms: int) -> bool:
        tombstones = self.of(task, now_ms)
        return ENDED in tombstones or CHILD in tombstones

    def forget(self, decision: Decision, now_ms: int) -> None:
        """Old marks, each with its status, if the id was not used again, and what a zombie left behind."""
        oldest = _key(_week(now_ms) - 1)
        old = takewhile(lambda entry: entry[0] < oldest, self._state.scan(b"E", self._purged_to))
        tombstones = list(islice(old, PURGED_AT_ONCE_MAX))
        for key, mark in tombstones:
            self._purged_to, task = key, key[len(oldest) :].decode()
            journal = [entry for entry, _ in self._state.scan(journal_key(task))]
            left = journal if mark != REJECTED else []
            decision.write += [Write(each, None) for each in (key, *left)]
            if journal == left and not self.of(task, now_ms, range(-1, 2)):
                decision.publish.append(Publish("status", task, None))
        self.due_ms = now_ms if len(tombstones) == PURGED_AT_ONCE_MAX else now_ms + PURGE_EVERY_MS


def mark(task: str, how: bytes, now_ms: int, heard: Iterable[str] = (), tenant: str = "") -> Write:
    """`heard` are the ids of signals as `heard_as` has them."""
    of = (_OF + quote(tenant, safe="").encode(),) if tenant else ()
    return Plain(_key(_week(now_ms), task), b" ".join((how, *map(str.encode, heard), *of)))


def _week(now_ms: int) -> int:
    return now_ms // REMEMBERED_MS


def _key(week: int, task: str = "") -> bytes:
    return b"E" + max(week, 0).to_bytes(4) + task.encode()
