"""A task's records, found on every topic where it leaves some: its log on `events`, the rest by time.

The log has no index but one: `status` says where the last run begins. An earlier run of a task that went on
anew is looked for backwards from there, by the two events between which it stands.

    events:  … Submitted, run 2 … Submitted, run 3 … Submitted, run 4 …
                       run 2 ──────▶│        ▲           ▲ status: the last run begins here
                                             └─ looked for backwards
"""

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from aiokafka import TopicPartition

from segue.processors.views.timeline import step_of
from segue.streams.client.journal_reader import journal_of
from segue.streams.kafka.reader import Reader, in_order
from segue.streams.settings import Settings
from segue.topics import codec
from segue.topics.contracts import LOG_TOPICS
from segue.topics.errors import BadRecord, UnknownName
from segue.topics.flow import Received
from segue.topics.records import ENDED, Result, Status, Submitted
from segue.topics.runs import first_step_of, run_of

CLOCK_SKEW_MS = 5_000
"""How far the clocks of workers may differ: a search by time begins so much earlier."""

SEARCHED_MIN = 1_000
"""Records of the log in the first step of a search backwards; each further step is twice as long."""


class Begun(NamedTuple):
    """Where a run begins, and how."""

    offset: int
    event: Submitted


Offsets = Mapping[TopicPartition, int]


class History:
    """Of one task, as `status` has it."""

    def __init__(self, settings: Settings, reader: Reader, status: Status) -> None:
        self._reader = reader
        self._status = status
        self._places = [TopicPartition(settings.topic(topic), status.partition) for topic in LOG_TOPICS]
        self._log = TopicPartition(settings.topic("events"), status.partition)
        self._changelog = TopicPartition(settings.topic("conduct-state"), status.partition)

    async def last_run(self) -> list[Received]:
        """All there are. Where the log of an open task is no longer kept, its events are its journal's.

        An ended task's are sought by the time at which it ended: that of its last event, which nobody may
        have been there to process for long.
        """
        ends = await self._reader.ends(self._places)
        if self._status.state in ENDED:
            later = await self._reader.at_time(self._places, self._status.at_ms + CLOCK_SKEW_MS)
            found = await self.up_to({place: min(ends[place], later[place]) for place in self._places})
            if any(record.topic == "results" for record in found):
                return found
        return await self.up_to(ends)

    async def up_to(self, ends: Offsets) -> list[Received]:
        """Those of the last run: on `events` from where it begins, elsewhere by when it began."""
        status = self._status
        firsts = await self._reader.beginnings([self._log])
        starts = await self._reader.at_time(self._places, status.started_ms - CLOCK_SKEW_MS)
        starts[self._log] = max(status.offset, firsts[self._log])
        found = await records_of(status.task, self._reader, starts, ends)
        if starts[self._log] == status.offset:
            return found
        open_ = status.state not in ENDED
        journal = await journal_of(status.task, self._reader, self._changelog) if open_ else []
        if not journal and all(record.topic == "status" for record in found):
            raise UnknownName(f"task {status.task!r} {ended_how(status)}, but its log has expired")
        kept = {record.value for record in found if record.topic == "events"}
        return in_order(found + [event for event in journal if event.value not in kept])

    async def run(self, number: int) -> list[Received]:
        """Those of one run, and how the next begins, if there is one. Raises `UnknownName`."""
        last_run = await self.last_run()
        begun = _begun(last_run)
        last = max(begun, default=0)
        if number == last:
            return last_run
        if number > last:
            raise UnknownName(f"task {self._status.task!r} has no run {number}: the last is run {last}")
        await self._look_back(begun, number)
        if number not in begun:
            raise UnknownName(f"the log of run {number} of task {self._status.task!r} has expired")
        return await self._between(begun[number], begun[number + 1])

    async def _look_back(self, begun: dict[int, Begun], number: int) -> None:
        """Adds where the runs before the last begin, until it is known of the run with this number."""
        first = (await self._reader.beginnings([self._log]))[self._log]
        end, size = self._status.offset, SEARCHED_MIN
        while end > first and number not in begun:
            start = max(first, end - size)
            found = await records_of(self._status.task, self._reader, {self._log: start}, {self._log: end})
            begun |= _begun(found)
            end, size = start, size * 2

    async def _between(self, begins: Begun, follows: Begun) -> list[Received]:
        run, after = begins.event, follows.event
        starts = await self._reader.at_time(self._places, run.at_ms - CLOCK_SKEW_MS)
        ends = await self._reader.at_time(self._places, after.at_ms + CLOCK_SKEW_MS)
        ends[self._log] = follows.offset + 1
        found = await records_of(self._status.task, self._reader, starts, ends)
        return [record for record in found if _is_between(record, run, after)]


def _is_between(received: Received, run: Submitted, after: Submitted) -> bool:
    if received.topic == "dead-letters":
        return run.at_ms <= received.timestamp_ms <= after.at_ms
    match record := _decoded(received):
        case Submitted():
            return run_of(record) in (run_of(run), run_of(after))
        case Status():
            return record.started_ms == run.at_ms
        case Result() | None:
            return False
        case _:
            step = step_of(record)
            return step is None or first_step_of(run) <= step < first_step_of(after)


async def records_of(task: str, reader: Reader, starts: Offsets, ends: Offsets) -> list[Received]:
    return in_order([record async for record in reader.read(starts, ends, task.encode())])


def ended_how(status: Status) -> str:
    return f"was {status.state}" if status.state in ("rejected", "cancelled") else status.state


def _begun(records: Iterable[Received]) -> dict[int, Begun]:
    """By the number of the run. Of a copy, which changed nothing, the first is meant."""
    found: dict[int, Begun] = {}
    for record in records:
        if record.topic == "events" and isinstance(event := _decoded(record), Submitted):
            found.setdefault(run_of(event), Begun(record.offset, event))
    return found


def _decoded(received: Received) -> Any:
    """None for what is no record: it stands in the dead letters."""
    try:
        return codec.decode(received.topic, received.value)
    except BadRecord:
        return None
