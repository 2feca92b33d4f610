"""Publish the open requests of tasks again, after records were lost before they were read.

The stage that reads a topic reports that records of it are lost: removed by retention before they were read,
or deleted with the topic. It is not known which records were lost, but a task's journal has the requests of
the task that have no outcome. These are published again unchanged, with the same idempotency keys, so that a
service which supports them does nothing twice. Later requests are not published again.

The state, so that a crash in between loses nothing:

    L topic    before when it was lost, and the last task that was looked at
"""

from collections.abc import Callable, Iterator

from segue.processors.tasks.journal import task_of
from segue.topics.flow import Decision, Plain, Publish, State, Write
from segue.topics.records import CallModel, CallTool, Delay, RecordsLost, TimerFired

CALLS = frozenset({"model-calls", "tool-calls"})

ASKED_AGAIN: dict[str, frozenset[str]] = {
    "model-calls": frozenset({"model-calls"}),
    "tool-calls": frozenset({"tool-calls"}),
    "checks": CALLS,
    "failures": CALLS,
    "delays": CALLS | {"delays"},
    "events": CALLS | {"delays"},
}
"""By the topic that lost records: those on which it is asked again. A retry may wait in `delays`."""

TASKS_AT_ONCE = 100
"""Looked at in one tick, if none of them waits for anything that was lost."""

OpenCommands = Callable[[str], tuple[list[Publish], str | None]]
"""What a task asked for and has no outcome of, and its tenant."""


class Losses:
    """Those of one partition, in the order of their topics' names."""

    def __init__(self, state: State) -> None:
        self._state = state
        self._open: dict[str, tuple[int, bytes]] = {}
        for key, value in state.scan(b"L"):
            before_ms, _, last = value.partition(b" ")
            self._open[key[1:].decode()] = int(before_ms), last

    def __bool__(self) -> bool:
        return bool(self._open)

    def add(self, lost: RecordsLost) -> Decision:
        if lost.topic not in ASKED_AGAIN:
            return Decision()
        self._open[lost.topic] = lost.before_ms, b""
        return Decision(write=[self._entry(lost.topic)])

    def ask_again(self, commands_of: OpenCommands) -> Decision:
        """For the next open task that waits for something which was lost."""
        topic, (before_ms, last) = next(iter(self._open.items()))
        decision = Decision()
        for task in self._tasks_after(last):
            last = task.encode()
            commands, tenant = commands_of(task)
            decision.publish = [c for c in commands if _is_lost(c, topic, before_ms)]
            if decision.publish:
                decision.tenant = tenant or ""
                break
        else:
            if last == self._open[topic][1]:
                del self._open[topic]
                decision.write = [Write(_key(topic), None)]
                return decision
        self._open[topic] = before_ms, last
        decision.write = [self._entry(topic)]
        return decision

    def _tasks_after(self, last: bytes) -> Iterator[str]:
        """The next `TASKS_AT_ONCE` open tasks, by their ids."""
        for _ in range(TASKS_AT_ONCE):
            beyond = b"J" + last + b"\x01" if last else b""
            found = next(self._state.scan(b"J", beyond), None)
            if found is None:
                return
            task = task_of(found[0])
            last = task.encode()
            yield task

    def _entry(self, topic: str) -> Write:
        before_ms, last = self._open[topic]
        return Plain(_key(topic), b"%d %b" % (before_ms, last))  # it is of no tenant


def _key(topic: str) -> bytes:
    return b"L" + topic.encode()


def _is_lost(command: Publish, topic: str, before_ms: int) -> bool:
    """Whether it was asked for by then, on a topic on which it has to be asked for again."""
    match command.value:
        case CallModel() | CallTool() as call:
            asked_ms = call.at_ms
        case Delay(record=TimerFired()):
            asked_ms = 0  # a timer says when it is due; told twice it is set twice, to the same time
        case _:
            return False
    return command.topic in ASKED_AGAIN[topic] and asked_ms <= before_ms
