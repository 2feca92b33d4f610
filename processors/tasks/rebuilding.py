"""Decides what becomes of tasks whose state was lost, by their last status and what is left of their logs.

    ended, within the week        ─▶ a mark, so that its id does not begin again
    open, its log is still kept   ─▶ `conduct` handles the log again, and only the state that it writes counts
    open, its log is gone         ─▶ the task fails, with the reason

A state is the fold of the log, so the second leaves the task where it was. All that `conduct` published then
is on the topics already; calls and timers that were still open are asked for again afterwards (`losses`).
"""

from collections.abc import Iterator
from dataclasses import dataclass, field

from segue.processors.tasks.tombstones import CHILD, ENDED, REJECTED, mark
from segue.topics import codec
from segue.topics.errors import BadRecord
from segue.topics.flow import Decision, Publish, Received, Write
from segue.topics.records import OPEN, Admitted, Problem, Result, Status, Submitted

STATE_LOST = Problem(
    type="StateLost",
    message="the topic conduct-state lost the state of this task, no worker had a copy of it, and "
    "`events` no longer has the record that began the task. Its steps are not undone. Start it "
    "again under another id",
    retryable=False,
)


@dataclass
class LostTasks:
    """The open tasks of one partition, whose logs begin on it from `first` on."""

    first: int
    begins: dict[str, int] = field(default_factory=dict[str, int])
    """Where in `events` the log of each begins."""
    waited: set[str] = field(default_factory=set[str])
    begun: set[str] = field(default_factory=set[str])
    _early: dict[str, list[Received]] = field(default_factory=dict[str, list[Received]])

    def add(self, status: Status) -> Decision:
        """Take note of a task's last status; the decision is about one that has ended."""
        if status.state in OPEN:
            self.begins[status.task] = status.offset
            if status.state == "queued":
                self.waited.add(status.task)
            return Decision()
        return Decision(write=[_mark(status)], tenant=status.tenant or "")

    @property
    def start(self) -> int | None:
        """From where on the log is needed; None if no task is open whose log is still kept."""
        return min((offset for offset in self.begins.values() if offset >= self.first), default=None)

    def look_at(self, record: Received) -> None:
        """Take note of who waited for its turn, before any log is handled."""
        task = self._task_of(record)
        if task is not None and isinstance(_decoded(record), Admitted):
            self.waited.add(task)

    def in_order(self, record: Received) -> Iterator[Received]:
        """Yield what is to be handled now: nothing of a task before it begins.

        The first event of a run that follows another is published after the run began, so that other events
        of the run may stand before it.
        """
        task = self._task_of(record)
        if task is None:
            return
        if task in self.begun:
            yield record
        elif isinstance(_decoded(record), Submitted):
            self.begun.add(task)
            yield record
            yield from self._early.pop(task, ())
        elif record.offset > self.begins[task]:
            self._early.setdefault(task, []).append(record)

    def late(self, record: Received) -> Iterator[Received]:
        """Yield what is to be handled of a record that nobody had handled: that a run begins which had begun.

        `conduct` publishes that behind what it is handling, and goes by it at once.
        """
        task = self._task_of(record)
        if task is not None and task not in self.begun and isinstance(_decoded(record), Submitted):
            yield from self.in_order(record)

    def is_gone(self, status: Status) -> bool:
        """Whether the task is open and its log does not say how it began."""
        return status.task in self.begins and status.task not in self.begun

    def _task_of(self, record: Received) -> str | None:
        task = (record.key or b"").decode(errors="replace")
        return task if record.offset >= self.begins.get(task, record.offset + 1) >= self.first else None


def given_up(status: Status, now_ms: int) -> Decision:
    """The task fails: nobody knows any more where it stood."""
    result = Result(
        task=status.task,
        workflow=status.workflow,
        outcome="failed",
        problem=STATE_LOST,
        tenant=status.tenant,
        spent=status.spent,
        started_ms=status.started_ms,
        at_ms=now_ms,
    )
    changes = {"state": "failed", "problem": STATE_LOST, "questions": (), "at_ms": now_ms}
    failed = status.model_copy(update=changes)
    told = [Publish("results", status.task, result), Publish("status", status.task, failed)]
    return Decision(told, [_mark(failed)], status.tenant or "")


def _mark(ended: Status) -> Write:
    how = REJECTED if ended.state == "rejected" else CHILD if ended.parent else ENDED
    return mark(ended.task, how, ended.at_ms, tenant=ended.tenant or "")


def _decoded(record: Received) -> object:
    """None for what can't be read: handled, it has a dead letter already."""
    try:
        return codec.decode(record.topic, record.value)
    except BadRecord:
        return None
