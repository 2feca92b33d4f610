"""What must hold of every schedule. `Broken` says which claim did not, and where."""

from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from aiokafka.structs import OffsetAndMetadata, TopicPartition

from segue.streams.engine.effect_runner import REMEMBERED_S
from segue.streams.kafka.offsets.tracker import OffsetTracker
from segue.streams.state.store import Mark
from segue.topics import codec
from segue.topics.flow import Received
from segue.topics.records import Result
from tests.simulation.broker import Broker, Entry, Group
from tests.simulation.world import Process

EFFECTS = {"model-calls": "model", "tool-calls": "tool", "checks": "check"}

ONCE = ("events", "results", "dead-letters", "questions", "status")


_TOLD = ("kind", "step", "attempt", "id", "origin", "early")


class Broken(Exception):
    """A claim does not hold."""


@dataclass
class Execution:
    """One time that a call was made."""

    process: Process
    moves: int
    begun_s: float
    cancelled: bool = False


@dataclass
class Claims:
    """Told of what happens, while it happens. What breaks is kept, since an exception might be caught."""

    broker: Broker
    exactly_once: bool
    broken: list[str] = field(default_factory=list[str])
    executions: dict[str, list[Execution]] = field(default_factory=dict[str, list[Execution]])
    finished: set[str] = field(default_factory=set[str])
    _jobs: dict[tuple[TopicPartition, int], str] = field(
        default_factory=dict[tuple[TopicPartition, int], str]
    )
    _delivered: Counter[str] = field(default_factory=Counter[str])
    _uncommitted: dict[TopicPartition, set[int]] = field(default_factory=lambda: defaultdict(set))
    _seen: Counter[TopicPartition] = field(default_factory=Counter[TopicPartition])
    _folds: dict[tuple[Process, str], tuple[int, dict[bytes, bytes]]] = field(
        default_factory=dict[tuple[Process, str], tuple[int, dict[bytes, bytes]]]
    )

    def breaks(self, what: str) -> None:
        self.broken.append(what)
        world = self.broker.world
        if not world.exhausted.done():
            world.exhausted.set_result(None)

    # ------------------------------------------------------------ calls

    def delivered(self, record: Received, job: str) -> None:
        self._jobs[TopicPartition(record.topic, record.partition), record.offset] = job

    def begins(self, record: Received, job: str, process: Process) -> Execution:
        """A call is made. Again only where its partition has moved since, it was cancelled, or much later."""
        tp = TopicPartition(record.topic, record.partition)
        group = self.broker.group(f"segue-{EFFECTS[record.topic]}")
        before = self.executions.setdefault(job, [])
        execution = Execution(process, group.moves[tp], self.broker.world.loop.now_s)
        if group.owner(tp) not in (process, None):
            self.breaks(f"{job} was begun on {process.name}, which has lost {tp.topic}/{tp.partition}")
        for other in before:
            same = other.process is process and other.moves == execution.moves and not other.cancelled
            soon = execution.begun_s - other.begun_s < REMEMBERED_S
            if same and soon and group.owner(tp) is process:
                self.breaks(f"{job} was called again on {process.name}, where it had been called")
        before.append(execution)
        return execution

    def commits(self, group: Group, tp: TopicPartition, at: OffsetAndMetadata, process: Process) -> None:
        """Offsets are about to count. They are those of the partition's owner, and of finished work."""
        if group.owner(tp) is not process:
            self.breaks(f"{process.name} has lost {tp.topic}/{tp.partition}, but its commit was accepted")
        if at.offset < (before := group.offsets.get(tp, at)).offset:
            self.breaks(f"{tp.topic}/{tp.partition}: {at.offset} was committed after {before.offset}")
        if at.offset > len(self.broker.logs[tp].entries):
            self.breaks(f"{tp.topic}/{tp.partition}: {at.offset} was committed, past its end")
        if tp.topic in EFFECTS:
            self._check_finished(tp, OffsetTracker(at.offset, at.metadata))

    def _check_finished(self, tp: TopicPartition, progress: OffsetTracker) -> None:
        entries, open_ = self.broker.logs[tp].entries, self._uncommitted[tp]
        fresh = range(self._seen[tp], max(self._seen[tp], progress.high))
        open_.update(n for n in fresh if n < len(entries) and entries[n].by is not None)
        self._seen[tp] += len(fresh)
        for offset in [offset for offset in open_ if progress.done(offset)]:
            open_.discard(offset)
            job = self._jobs.get((tp, offset), "")
            if entries[offset].counts and not (job in self.finished or self._has_another(tp, offset, job)):
                self.breaks(f"{tp.topic}/{tp.partition} {offset} ({job}) is unfinished, and was committed")

    def _has_another(self, tp: TopicPartition, offset: int, job: str) -> bool:
        """A record that asks for what another one asks for is done at once."""
        return any(
            other == job and at != (tp, offset) and at[0] == tp and bool(job)
            for at, other in self._jobs.items()
        )

    # ------------------------------------------------------------ state

    def wrote(self, process: Process, path: str, entries: dict[bytes, bytes]) -> None:
        """A store was written: with its offset it is the fold of the changelog up to there."""
        if not self.exactly_once:
            return
        stage, _, number = path.rpartition("/")[2].rpartition("-")
        tp = TopicPartition(f"{stage}-state", int(number))
        offset = Mark.unpack(entries[b"\0"]).offset
        at, fold = self._folds.get((process, path), (0, {}))
        if at > offset:
            at, fold = 0, {}
        _fold(fold, self.broker.logs[tp].entries[at:offset])
        fold[b"\0"] = entries[b"\0"]
        self._folds[process, path] = offset, fold
        if fold != entries:
            self.breaks(f"the store {path} is not the fold of {tp.topic} up to {offset}")

    def left_open(self) -> list[bytes]:
        """Keys of state by the changelogs, but for the marks of tasks that ended.

        At least once nobody fences a zombie: what it wrote of a task that has ended must only do no harm.
        """
        left: list[bytes] = []
        for topic in ("conduct-state", "delay-state"):
            for number in range(self.broker.partitions):
                fold: dict[bytes, bytes] = {}
                _fold(fold, self.broker.logs[TopicPartition(topic, number)].entries)
                ended = {key[6:] for key in fold if key.startswith(b"\x01E")}
                left += [
                    key[1:]
                    for key in fold
                    if not (key.startswith((b"\x01E", b"\x01\xff")) or self._excused(key, ended))
                ]
        return left

    def _excused(self, key: bytes, ended: set[bytes]) -> bool:
        journal = key[:2] == b"\x01J" and key[2:].split(b"\0")[0] in ended
        return journal and not self.exactly_once

    # ------------------------------------------------------------ the end

    def twice(self, echoed: bool) -> Iterator[str]:
        """What stands twice for readers of committed records; under at least once, with other content."""
        for topic in ONCE:
            if echoed and topic != "results":
                continue
            seen: dict[Any, bytes | None] = {}
            for tp, offset, entry in self.broker.records(topic, committed=self.exactly_once):
                name = _name(topic, entry)
                if name in seen and (self.exactly_once or _differs(topic, seen[name], entry.value)):
                    yield f"{topic}/{tp.partition} {offset}: {name} stands twice"
                seen[name] = entry.value

    def results(self) -> dict[str, Result]:
        return {
            result.task: result
            for _, _, entry in self.broker.records("results", committed=self.exactly_once)
            for result in [codec.decode("results", entry.value)]
        }


def _fold(fold: dict[bytes, bytes], entries: list[Entry]) -> None:
    for entry in entries:
        if entry.counts and entry.key is not None:
            if entry.value is None:
                fold.pop(b"\x01" + entry.key, None)
            else:
                fold[b"\x01" + entry.key] = entry.value


def _name(topic: str, entry: Entry) -> Any:
    """What makes two records the same one."""
    if topic == "dead-letters":
        headers = dict(entry.headers)
        return tuple(headers[f"segue-{what}"] for what in ("stage", "topic", "partition", "offset"))
    record = codec.decode(topic, entry.value)
    told = ("state", "questions", "at_ms") if topic == "status" else _TOLD
    run = getattr(record, "run", None)
    return record.task, run and run.number, *(str(getattr(record, name, "")) for name in told)


def _differs(topic: str, one: bytes | None, other: bytes | None) -> bool:
    """Whether copies say different things; when and where something was handled is no part of that."""
    if topic not in ("results", "questions"):
        return False
    return one != other
