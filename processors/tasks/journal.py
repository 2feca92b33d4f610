"""The keys and heads of journals in conduct's state.

    J task \\0 seq  ─▶  head \\n the event's bytes, as they stood on `events`

The head says how many steps had been asked for then; that of the first entry also where in `events` the
task's log begins, and whether the task had to wait for its turn. Last come the verdicts on the event's
values, where there are any: see `verdicts`.
"""

from typing import NamedTuple

from segue.processors.workflow.state.verdicts import Known, known_in


class JournalEntry(NamedTuple):
    """`event` is as it stood on `events`; None where the entry was deleted."""

    seq: int
    event: bytes | None


def journal_key(task: str, seq: int | None = None) -> bytes:
    """Without `seq` what all keys of the task's journal begin with."""
    prefix = b"J" + task.encode() + b"\0"
    return prefix if seq is None else prefix + b"%08x" % seq


def task_of(key: bytes) -> str:
    """The task to whose journal the key belongs."""
    return key[1:].partition(b"\0")[0].decode()


def journal_entry(task: str, key: bytes, value: bytes | None) -> JournalEntry | None:
    """What the changelog says at `key` of the task's journal; None if it is about anything else."""
    prefix = journal_key(task)
    if not key.startswith(prefix):
        return None
    return JournalEntry(int(key[len(prefix) :], 16), None if value is None else value.partition(b"\n")[2])


def verdicts_at(key: bytes, value: bytes | None) -> tuple[str, Known] | None:
    """The task and the verdicts of a journal entry that is written; None for any other change."""
    if not key.startswith(b"J") or value is None:
        return None
    task, _, _ = key[1:].rpartition(b"\0")
    head, _, _ = value.partition(b"\n")
    return task.decode(), known_in(head.split())
