"""Rebuilds a partition's state of `conduct` from the logs of its tasks, where the state itself was lost.

    the group has offsets, and the state does not say that any record was handled ─▶ it was lost:
    its changelog was deleted or emptied, and this worker has no whole copy to write back

`processors.tasks.rebuilding` decides what becomes of each task. A crash on the way loses nothing: until the
last commit the state does not say that any record was handled, and what is handled twice changes nothing.
"""

import logging
from collections.abc import Callable, Container
from typing import Protocol

from aiokafka.structs import TopicPartition

from segue.processors.tasks.rebuilding import LostTasks, given_up
from segue.streams.client.status_table import each_status
from segue.streams.engine.outbox import Outbox
from segue.streams.kafka.broker_clock import now_ms
from segue.streams.kafka.committer import Committer
from segue.streams.kafka.consumer_group import Group
from segue.streams.kafka.offsets.tracker import committed
from segue.streams.kafka.positions import Committed
from segue.streams.kafka.producer import Ends
from segue.streams.kafka.reader import Reader
from segue.streams.settings import Settings
from segue.topics.flow import Decision, Received, Stage, State

log = logging.getLogger(__name__)

RECORDS_MAX = 5_000
"""In one commit."""


class Rebuilt(Protocol):
    """The partition, as `pure.Partition` is."""

    async def handle(self, record: Received, outbox: Outbox, now_ms: int, *, again: bool = False) -> None: ...

    def accept(self, decision: Decision, cause: Received | None, outbox: Outbox) -> None: ...

    def committed(self, ends: Ends, now_ms: int, *, fenced: bool = True) -> None: ...

    def remake(self, make: Callable[[State], Stage]) -> None: ...


def is_lost(at: Committed, handled: int | None) -> bool:
    """Return whether records were handled, and the state does not know of any."""
    return handled is None and bool(at.offset)


class Rebuilder:
    """Of the state of the partition `place` of `events`, of what stands on it before `end`."""

    def __init__(
        self, settings: Settings, group: Group, commits: Committer, place: TopicPartition, end: int
    ) -> None:
        self._settings = settings
        self._group = group
        self._commits = commits
        self._place = place
        self._end = end
        self._outbox = Outbox(settings)

    async def rebuild(self, partition: Rebuilt, make_again: Callable[[State, Container[str]], Stage]) -> None:
        async with Reader(self._settings) as reader:
            tasks = LostTasks((await reader.beginnings([self._place]))[self._place])
            async for status in each_status(self._settings, self._place.partition):
                partition.accept(tasks.add(status), None, self._outbox)
                await self._commit(partition, RECORDS_MAX)
            await self._play(partition, tasks, reader, make_again)
        gone = 0
        async for status in each_status(self._settings, self._place.partition):
            if tasks.is_gone(status):
                gone += 1
                partition.accept(given_up(status, now_ms()), None, self._outbox)
                await self._commit(partition, RECORDS_MAX)
        await self._commit(partition, 1)
        log.error(
            "partition %d: of %d open tasks %d were rebuilt from their logs, and %d have failed: their logs "
            "have expired",
            *(self._place.partition, len(tasks.begins), len(tasks.begun), gone),
        )

    async def _play(
        self,
        partition: Rebuilt,
        tasks: LostTasks,
        reader: Reader,
        make_again: Callable[[State, Container[str]], Stage],
    ) -> None:
        """Only the state counts that is written: all else was published when it was handled first."""
        if (start := tasks.start) is None:
            return
        starts, ends = {self._place: start}, await reader.ends([self._place])
        async for record in reader.read(starts, ends):
            tasks.look_at(record)
        partition.remake(lambda state: make_again(state, tasks.waited))
        async for record in reader.read(starts, ends):
            handled = record.offset < self._end
            for each in tasks.in_order(record) if handled else tasks.late(record):
                outbox = Outbox(self._settings)
                await partition.handle(each, outbox, each.timestamp_ms, again=True)
                self._outbox.records += [record for record in outbox.records if record.is_state]
            await self._commit(partition, RECORDS_MAX)

    async def _commit(self, partition: Rebuilt, least: int) -> None:
        """If there are so many records to commit."""
        if len(self._outbox.records) < least:
            return
        begun_ms, offsets = now_ms(), {self._place: committed(self._end)}
        await self._group.ensure_held()
        ends = await self._commits.commit(self._outbox.records, offsets, self._group.membership, begun_ms)
        partition.committed(ends, begun_ms, fenced=self._settings.guarantee == "exactly_once")
        self._outbox = Outbox(self._settings)
