"""The tasks of a partition that are in memory: a cache of their journals.

The cache evicts a coroutine when it holds too many, and rebuilds it from the journal when an event comes. The
commands of a rebuild were published before, except those of a parked task: nothing was published since the
event at which it was parked, so what other code asks for from there on is published now.
"""

import sys
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import islice
from typing import NamedTuple

from segue.processors.tasks.conclusion import Conclusion, Recorded, conclusion, digest_of
from segue.processors.tasks.journal import journal_key
from segue.processors.tasks.status import StatusDigest, status_digest_of, unplayed
from segue.processors.workflow.execution import UNKNOWN, WorkflowExecution
from segue.processors.workflow.state.verdicts import known_in
from segue.topics import codec
from segue.topics.errors import BadRecord
from segue.topics.flow import Plain, Publish, State, Write
from segue.topics.records import CallModel, CallTool, Delay, Problem, Submitted, TimerFired

QUEUED = b"queued"
"""Said in the first journal entry of a task that had to wait for its turn."""


class ParkedSince(NamedTuple):
    """The number of the first event that a parked task has not played, and the digest of its problem."""

    since: int
    by: bytes


@dataclass(slots=True)
class CachedTask:
    """A task in memory. `seq` numbers its next journal entry, `offset` is where its log begins in `events`.

    `unpublished_commands` are those of a parked task since it was parked; `published_status` is the digest of
    its last status; `busy` says whether the state counts it among the busy tasks.
    """

    execution: WorkflowExecution
    seq: int
    partition: int
    offset: int
    unpublished_commands: list[Publish] = field(default_factory=list[Publish])
    parked: ParkedSince | None = None
    published_status: StatusDigest | None = None
    busy: bool = False

    @property
    def steps(self) -> int:
        """How many steps its coroutine has asked for; while it is parked nobody can say."""
        return UNKNOWN if self.execution.parked else len(self.execution.context.steps)

    @property
    def head(self) -> bytes:
        """What stands before the first entry of its journal."""
        verdicts = self.execution.context.verdicts.token
        return b"%d %d %d%b\n" % (self.steps, self.partition, self.offset, verdicts)

    @property
    def concluded(self) -> Conclusion:
        """What follows from where its coroutine is now."""
        recorded = Recorded(self.parked.by if self.parked else None, self.busy, self.published_status)
        calls_open = self.execution.context.steps.calls > 0
        return conclusion(
            recorded, self.execution.phase, status_digest_of(self.execution), calls_open=calls_open
        )

    def park(self) -> Write:
        """Remembers from which event on it has not played, and why."""
        problem = self.execution.parked
        assert problem is not None
        since = self.parked.since if self.parked else self.seq - 1
        self.parked = ParkedSince(since, digest_of(problem))
        return Plain(parked_key(self.execution.task_id), b"%d %b" % self.parked)

    def unpark(self) -> tuple[Write, list[Publish]]:
        """Forgets that; with it what the task should have asked for since."""
        unpublished, self.unpublished_commands, self.parked = self.unpublished_commands, [], None
        return Write(parked_key(self.execution.task_id), None), unpublished


class TaskCache:
    """Finds tasks, in memory or by their journals; `most` of them stay. `play` makes executions."""

    def __init__(
        self, play: Callable[..., WorkflowExecution], state: State, most: int, *, silent: bool = False
    ) -> None:
        self._play = play
        self._state = state
        self._most = most
        self._silent = silent
        self._tasks: OrderedDict[str, CachedTask] = OrderedDict()

    def get(self, task: str) -> CachedTask | None:
        """One that is in memory."""
        cached = self._tasks.get(task)
        if cached is not None:
            self._tasks.move_to_end(task)
        return cached

    def tenant_of(self, task: str) -> str | None:
        """Return the open task's tenant, "" if it has none; None if no such task is open, or can be read."""
        if (cached := self._tasks.get(task)) is not None:
            return cached.execution.submitted.tenant or ""
        first = self._state.get(journal_key(task, 0))
        if first is None:
            return None
        try:
            begun: Submitted = codec.decode("events", codec.unsealed(first).partition(b"\n")[2])
        except BadRecord:
            return None
        return begun.tenant or ""

    def keep(self, cached: CachedTask) -> None:
        self._tasks[cached.execution.task_id] = cached
        if len(self._tasks) > self._most:
            _, evicted = self._tasks.popitem(last=False)
            evicted.execution.close()

    def let_go(self, task: str) -> None:
        self._tasks.pop(task).execution.close()

    def close(self) -> None:
        """Let all coroutines go: whoever throws the stage away says so, or their clean-up runs unwatched."""
        for cached in self._tasks.values():
            cached.execution.close()
        self._tasks.clear()

    def open_commands(self, task: str) -> tuple[list[Publish], str | None]:
        """The calls and timers of which the task has no outcome, as it asked for them; and its tenant."""
        asked: list[Publish] = []
        cached = self.rebuilt(task, asked)
        if cached is None:
            return [], None
        steps, tenant = cached.execution.context.steps, cached.execution.submitted.tenant
        still = [publish for publish in asked if (step := steps.at(_step(publish))) and not step.settled]
        cached.execution.close()
        return still, tenant

    def rebuilt(self, task: str, asked: list[Publish] | None = None) -> CachedTask | None:
        """The task by its journal, which is played again; None if it has none.

        To `asked` is added what it asked for, and was published, by then.
        """
        first = self._state.get(journal_key(task, 0))
        if first is None:
            return None
        head, _, begun = codec.unsealed(first).partition(b"\n")
        steps, partition, offset, *more = head.split()
        submitted: Submitted = codec.decode("events", begun)
        parked, known = self._parked(task), known_in(more)
        replaying = self._silent or parked is None or parked.since > 0
        execution = self._play(submitted, queued=QUEUED in more, replaying=replaying)
        execution.start(known)
        cached = CachedTask(execution, 0, int(partition), int(offset), parked=parked)
        self._played(cached, int(steps), asked)
        for _, entry in islice(self._state.scan(journal_key(task)), 1, None):
            head, _, happened = codec.unsealed(entry).partition(b"\n")
            then, *more = head.split()
            execution.context.replaying = self._silent or parked is None or cached.seq < parked.since
            execution.apply(codec.decode("events", happened), known_in(more))
            self._played(cached, int(then), asked)
        execution.context.replaying = self._silent
        cached.published_status = (
            StatusDigest("parked") if cached.parked or execution.parked else status_digest_of(execution)
        )
        return cached

    def _played(self, cached: CachedTask, steps: int, asked: list[Publish] | None) -> None:
        """An entry of the journal, after which so many steps had been asked for."""
        cached.execution.expect(steps)
        if cached.seq >= (cached.parked.since if cached.parked else sys.maxsize):
            cached.unpublished_commands += cached.execution.take()
        else:
            if asked is not None:
                asked += cached.execution.take()
            cached.execution.discard()
        cached.seq += 1

    def _parked(self, task: str) -> ParkedSince | None:
        kept = self._state.get(parked_key(task))
        if kept is None:
            return None
        since, _, by = kept.partition(b" ")
        return ParkedSince(int(since), by)


def parked_tasks(state: State) -> int:
    """Return how many tasks of the partition are parked."""
    return sum(1 for _ in state.scan(b"P"))


def parked_since(state: State, task: str, seq: int, problem: Problem) -> Write:
    """Remembers that the task has not played on since that entry, or since an earlier one."""
    kept = state.get(parked_key(task))
    since = int(kept.partition(b" ")[0]) if kept is not None else seq
    return Plain(parked_key(task), b"%d %b" % (since, digest_of(problem)))


def unplayed_status(
    state: State, task: str, problem: Problem, now_ms: int, begun: Write | None = None
) -> list[Publish]:
    """That the task is parked; nothing if its journal can't be read. `begun`: a new first entry."""
    first = state.get(journal_key(task, 0)) or (begun.value if begun is not None else None)
    try:
        head, _, submitted = codec.unsealed(first or b"").partition(b"\n")
        _, partition, offset, *_ = map(int, head.split()[:3])
        status = unplayed(codec.decode("events", submitted), partition, offset, problem, now_ms)
    except BadRecord:
        return []
    return [Publish("status", task, status)]


def _step(publish: Publish) -> int:
    """The number of the step that it is asked for; -1 if it is for none."""
    value = publish.value.record if isinstance(publish.value, Delay) else publish.value
    return value.step if isinstance(value, CallModel | CallTool | TimerFired) else -1


def parked_key(task: str) -> bytes:
    return b"P" + task.encode()
