"""Admission to one partition: which tasks may begin, and which wait for their turn.

A task is busy while a model or tool that it called has not answered. While `running_tasks_max` tasks are
busy, those that come wait in the state, and begin as others end or fall idle. So the topics behind conduct
hold little, however much is submitted at once; and what is urgent waits behind what runs, never behind all
that came before it.

Turns go by priority; within a priority from tenant to tenant, one task each; within a tenant to children
first, which finish what was begun, and then in the order of `events`. Nobody waits for itself: what is busy
waits for calls alone, and a task that waits for its child, a person or a timer is idle, in nobody's way.

The keys of the state, where a line is a tenant's tasks of one priority, and a rank is 9 less that priority:

    B task                         is busy
    W rank tenant \\0 kind offset   waits in that line; its value says since when, and its id
    V rank turn tenant             lines from which somebody may begin, the next one first
    T rank tenant                  the turn of such a line; empty while its tenant may not open more
    O tenant                       how many tasks of the tenant are open, and how many wait, without children

A line that takes its turn moves behind those that have not had theirs (stride scheduling: C. Waldspurger,
1995). A line that is new joins behind one round of the others.
"""

from collections.abc import Container, Iterator
from dataclasses import dataclass, field
from heapq import heappop, heapreplace
from itertools import islice
from typing import NamedTuple

from segue.processors.limits import Limits
from segue.topics.flow import Plain, State, Write
from segue.topics.records import PRIORITY_MAX, Admitted, Submitted

LINES_KNOWN_MAX = 1_000
"""Lines of which is remembered how far they have moved: searching from there spares RocksDB what is gone."""

STRIDE = 2
"""How far a line moves when it took its turn: past one that joined since, which is 1 behind the next."""

_CHILD, _ROOT = b"\0", b"\1"
_STOPPED = b""


class Turn(NamedTuple):
    """A task that may begin, its priority, since when it waited, and its tenant ("" for none)."""

    task: str
    priority: int
    since_ms: int
    tenant: str = ""

    def event(self, now_ms: int) -> Admitted:
        waited_ms = max(0, now_ms - self.since_ms)
        return Admitted(task=self.task, priority=self.priority, waited_ms=waited_ms, at_ms=now_ms)


class Counts(NamedTuple):
    open: int = 0
    waiting: int = 0


@dataclass(order=True)
class Line:
    """A line in turn. `stood` is the turn that the state knows."""

    rank: int
    turn: int
    tenant: bytes
    stood: int
    places: Iterator[tuple[bytes, bytes]] = field(compare=False)


class Admission:
    """The waiting tasks of one partition. Whoever tells it of tasks has what is to be written from `take`."""

    def __init__(self, state: State, limits: Limits, waited: Container[str] | None = None) -> None:
        self._state = state
        self._limits = limits
        self._waited = waited
        self._busy = sum(1 for _ in state.scan(b"B"))
        self._in_turn = next(state.scan(b"V"), None) is not None
        self._stopped = [key for key, turn in state.scan(b"T") if turn == _STOPPED]
        """Lines that were stopped when this worker took over: its limits may be others."""
        self._from: dict[bytes, bytes] = {}
        self._written: dict[bytes, bytes | None] = {}

    def take(self) -> list[Write]:
        if not self._written:
            return []
        written, self._written = self._written, {}
        return [Plain(key, value) for key, value in written.items()]

    # ------------------------------------------------------------ tasks that come and go

    def must_wait(self, event: Submitted) -> bool:
        if self._waited is not None:
            return event.task in self._waited
        return self._in_turn or self._busy >= self._limits.running_tasks_max or self._is_full(event)

    def objection(self, event: Submitted) -> str | None:
        """Return the reason, for the sender, why the task may not wait; None if it may wait."""
        most = self._limits.waiting_tasks_per_tenant_max
        if most is None or event.parent or event.tenant is None:
            return None
        if self._counts(_tenant(event)).waiting < most:
            return None
        limit = f"{most:,} (waiting_tasks_per_tenant_max, this partition's part)"
        return (
            f"tenant {event.tenant!r} has the most tasks that may wait for their turn, {limit}: send "
            "the request again later"
        )

    def hold(self, event: Submitted, offset: int) -> None:
        """The task waits. `offset` is where in `events` it was submitted."""
        rank, tenant, place = _rank(event), _tenant(event), _place(event, offset)
        self._look_from(_places(rank, tenant), place)
        self._written[place] = b"%d %s" % (event.at_ms, event.task.encode())
        if not self._is_full(event):
            self._join(rank, tenant)
        elif self._get(_turn(rank, tenant)) is None:
            self._written[_turn(rank, tenant)] = _STOPPED
        self._count(event, waiting=1)

    def opened(self, event: Submitted) -> None:
        """The task begins without having waited."""
        self._count(event, open_=1)

    def begun(self, event: Submitted, offset: int) -> None:
        """The task begins after having waited; it is in its line if what let it in was never committed."""
        place = _place(event, offset)
        if self._get(place) is not None:
            self._written[place] = None
            self._count(event, open_=1, waiting=-1)

    def ended(self, event: Submitted, offset: int, *, waited: bool) -> None:
        """The task is no more: another of its tenant may begin. It may have been in its line still."""
        place = _place(event, offset) if waited else b""
        if waited and self._get(place) is not None:
            self._written[place] = None
            self._count(event, waiting=-1)
        elif self._count(event, open_=-1):
            for rank in range(PRIORITY_MAX + 1):
                if self._get(_turn(rank, _tenant(event))) == _STOPPED:
                    self._join(rank, _tenant(event))

    def is_busy(self, task: str) -> bool:
        return self._get(b"B" + task.encode()) is not None

    def busy(self, task: str, *, now: bool) -> None:
        """The task has calls in flight now, and had none before; or the other way round."""
        self._busy += 1 if now else -1
        self._written[b"B" + task.encode()] = b"" if now else None

    # ------------------------------------------------------------ turns

    @property
    def due(self) -> bool:
        return bool(self._stopped) or (self._in_turn and self._busy < self._limits.running_tasks_max)

    def admit(self) -> list[Turn]:
        """Those whose turn it is, as many as there is room for. They are busy from now on."""
        if self._start_again():
            return []
        room = self._limits.running_tasks_max - self._busy
        lines = self._lines(most := max(room, 2))
        read, alone = len(lines), len(lines) == 1
        turns: list[Turn] = []
        while lines and len(turns) < room:
            line = lines[0]
            place, value = next(line.places, (b"", b""))
            if not place or (_is_root(place) and self._has_all(line.tenant)):
                self._end_turns(heappop(lines), stopped=bool(place))
                continue
            turns.append(self._admit(line, place, value))
            line.turn += STRIDE
            heapreplace(lines, line)
        self._in_turn = bool(lines) or read == most
        for line in lines if not alone else ():
            self._move(line)
        return turns

    def _admit(self, line: Line, place: bytes, value: bytes) -> Turn:
        since_ms, _, task = value.partition(b" ")
        self._written[place] = None
        if len(self._from) > LINES_KNOWN_MAX:
            self._from.clear()
        self._from[_places(line.rank, line.tenant)] = place
        if _is_root(place):
            self._counted(line.tenant, open_=1, waiting=-1)
        turn = Turn(task.decode(), PRIORITY_MAX - line.rank, int(since_ms), line.tenant.decode())
        self.busy(turn.task, now=True)
        return turn

    def _lines(self, most: int) -> list[Line]:
        """The next lines in turn: so many turns can't reach further."""
        keys = [key for key, _ in islice(self._state.scan(b"V", self._from.get(b"V", b"")), most)]
        if keys:
            self._from[b"V"] = keys[0]
        return [self._line(key[1], int.from_bytes(key[2:10]), key[10:]) for key in keys]

    def _line(self, rank: int, turn: int, tenant: bytes) -> Line:
        line = _places(rank, tenant)
        return Line(rank, turn, tenant, turn, self._state.scan(line, self._from.get(line, b"")))

    def _move(self, line: Line) -> None:
        """As many turns on as it took."""
        if line.turn != line.stood:
            self._written[_in_turn(line.rank, line.stood, line.tenant)] = None
            self._written[_in_turn(line.rank, line.turn, line.tenant)] = b""
            self._written[_turn(line.rank, line.tenant)] = line.turn.to_bytes(8)

    def _end_turns(self, line: Line, *, stopped: bool) -> None:
        """Nobody waits there, or nobody may begin."""
        self._from.pop(_places(line.rank, line.tenant), None)
        self._written[_in_turn(line.rank, line.stood, line.tenant)] = None
        self._written[_turn(line.rank, line.tenant)] = _STOPPED if stopped else None

    def _join(self, rank: int, tenant: bytes) -> None:
        """The line takes part in the turns, behind one round of the others, if it does not yet."""
        self._in_turn = True
        if self._get(_turn(rank, tenant)):
            return
        first = next(self._state.scan(b"V%c" % rank, self._from.get(b"V", b"")), None)
        turn = int.from_bytes(first[0][2:10]) + 1 if first else 0
        key = _in_turn(rank, turn, tenant)
        self._look_from(b"V", key)
        self._written[key] = b""
        self._written[_turn(rank, tenant)] = turn.to_bytes(8)

    def _look_from(self, prefix: bytes, key: bytes) -> None:
        """A key that is new may stand before those from which the search for the next goes on."""
        if prefix in self._from:
            self._from[prefix] = min(key, self._from[prefix])

    def _start_again(self) -> bool:
        """Lines of tenants that may open more by the limits of this worker: the next `admit` sees them."""
        stopped, self._stopped = self._stopped, []
        for key in stopped:
            if self._get(key) == _STOPPED and not self._has_all(key[2:]):
                self._join(key[1], key[2:])
        return bool(stopped)

    # ------------------------------------------------------------ tenants

    def _is_full(self, event: Submitted) -> bool:
        return event.parent is None and self._has_all(_tenant(event))

    def _has_all(self, tenant: bytes) -> bool:
        """Whether the tenant has as many open tasks as it may."""
        most = self._limits.open_tasks_per_tenant_max
        return most is not None and tenant != b"" and self._counts(tenant).open >= most

    def _counts(self, tenant: bytes) -> Counts:
        known = self._get(b"O" + tenant)
        return Counts(*map(int, known.split())) if known is not None else Counts()

    def _count(self, event: Submitted, open_: int = 0, waiting: int = 0) -> bool:
        """Whether it counts: a child comes with its parent, a task without a tenant is nobody's."""
        if event.parent is not None or event.tenant is None:
            return False
        self._counted(_tenant(event), open_, waiting)
        return True

    def _counted(self, tenant: bytes, open_: int, waiting: int) -> None:
        if tenant:
            was = self._counts(tenant)
            now = Counts(max(was.open + open_, 0), max(was.waiting + waiting, 0))
            self._written[b"O" + tenant] = b"%d %d" % now if any(now) else None

    def _get(self, key: bytes) -> bytes | None:
        """With what was written since the last `take`, which scans do not see."""
        return self._written[key] if key in self._written else self._state.get(key)


def _tenant(event: Submitted) -> bytes:
    return (event.tenant or "").encode()


def _rank(event: Submitted) -> int:
    return PRIORITY_MAX - event.priority


def _places(rank: int, tenant: bytes) -> bytes:
    return b"W%c%s\0" % (rank, tenant)


def _place(event: Submitted, offset: int) -> bytes:
    line = _places(_rank(event), _tenant(event))
    return line + (_CHILD if event.parent else _ROOT) + offset.to_bytes(8)


def _is_root(place: bytes) -> bool:
    return place[-9:-8] == _ROOT


def _in_turn(rank: int, turn: int, tenant: bytes) -> bytes:
    return b"V%c%s%s" % (rank, turn.to_bytes(8), tenant)


def _turn(rank: int, tenant: bytes) -> bytes:
    return b"T%c%s" % (rank, tenant)
