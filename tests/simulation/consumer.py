"""What stands in for aiokafka's consumer: the same calls, answered by the simulated broker.

Only what the product uses is here. It belongs to the process that makes it; what a dead process still calls
is cancelled, and has no effect.
"""

import asyncio
from collections.abc import Iterable, Mapping
from types import SimpleNamespace
from typing import Any

from aiokafka.errors import CommitFailedError, IllegalGenerationError, IllegalStateError, UnknownMemberIdError
from aiokafka.structs import ConsumerRecord, OffsetAndMetadata, TopicPartition

from tests.simulation.broker import BROKER, NO_GENERATION, Entry
from tests.simulation.requests import Client
from tests.simulation.world import HEARTBEAT_S, PROCESS, SESSION_S, Process

IDLE_S_MIN = 0.5
IDLE_GROWTH = 30
"""Who polls and finds nothing polls less and less often, which changes nothing but how long a seed takes."""


class Consumer:
    """`AIOKafkaConsumer`, with the eager protocol of groups."""

    def __init__(self, **options: Any) -> None:
        self._process = PROCESS.get()
        self._broker = BROKER[-1]
        self._world = self._process.world
        self._committed = options["isolation_level"] == "read_committed"
        self._name = str(options["client_id"])
        self._instance: str | None = options.get("group_instance_id")
        self._group = self._broker.group(options["group_id"]) if options.get("group_id") else None
        self._positions: dict[TopicPartition, int] = {}
        self._paused: set[TopicPartition] = set()
        self._reassigned = asyncio.Event()
        self._rejoin = asyncio.Event()
        self._woken: asyncio.Future[None] | None = None
        self._coordinating: asyncio.Task[None] | None = None
        self._idle_s = IDLE_S_MIN
        self.topics: list[str] = []
        self._coordinator = SimpleNamespace(
            generation=NO_GENERATION,
            member_id="",
            coordinator_id=0,
            ensure_coordinator_known=self._nothing,
            reset_generation=self._forget,
            _do_heartbeat=self._nothing,
            _do_rejoin_group=self._nothing,
            _maybe_leave_group=self._nothing,
        )
        self._client = Client()

    async def _nothing(self) -> None: ...

    def _forget(self) -> None:
        self._coordinator.generation, self._coordinator.member_id = NO_GENERATION, ""

    async def start(self) -> None:
        await self._process.passes("consumer starts")

    async def stop(self) -> None:
        if self._coordinating is not None:
            self._coordinating.cancel()
        if self._group is not None and self._coordinator.member_id:
            member, group = self._coordinator.member_id, self._group
            await self._coordinator._maybe_leave_group()
            self._world.later(SESSION_S, lambda: group.remove(member))  # a static one may have stayed

    # ------------------------------------------------------------ a group

    def subscribe(self, topics: Iterable[str], listener: Any) -> None:
        self.topics = list(topics)
        self._process.consumers.append(self)
        self._rejoin.set()
        self._coordinating = asyncio.create_task(self._coordinate(listener))

    async def _coordinate(self, listener: Any) -> None:
        while True:
            await self._rejoin.wait()
            if self._coordinator.member_id:
                await asyncio.sleep(self._world.chance.random() * HEARTBEAT_S)
            await self._process.heard()
            self._reassigned.clear()
            await listener.on_partitions_revoked(set(self._positions))
            self._positions, self._idle_s = {}, IDLE_S_MIN
            while not await self._join():
                pass
            self._reassigned.set()
            self.wake()
            await listener.on_partitions_assigned(set(self._positions))

    async def _join(self) -> bool:
        """False if the group had gone on again by the time that this member knew of its share."""
        group = self._group
        assert group is not None
        await self._process.passes(f"{self._name} joins")
        await self._process.heard()
        self._rejoin.clear()
        member = self._coordinator.member_id
        if member not in group.members:
            member = f"{self._instance or self._name}-{self._world.chance.getrandbits(32):08x}"
            self._coordinator.member_id = member
        await group.join(member, self, self._instance)
        generation = group.generation
        await self._process.passes(f"{self._name} learns of generation {generation}")
        if self._rejoin.is_set() or generation != group.generation:
            return False
        self._coordinator.generation = generation
        mine = [tp for tp, member in group.owners.items() if member == self._coordinator.member_id]
        self._positions = dict.fromkeys(mine, 0)
        return True

    def rejoin(self) -> None:
        """Called by the group: the generation is over. The member hears of it with a heartbeat."""
        self._rejoin.set()

    def expire(self) -> None:
        """Its session is over, unless it was heard of again, or asked by itself whether it is a member."""
        group, member = self._group, self._coordinator.member_id
        if group is None or not (self._process.dead or self._process.is_unheard):
            return
        left_s = group.heard_s.get(member, -SESSION_S) + SESSION_S - self._world.loop.now_s
        if left_s > 0:
            self._world.later(left_s, self.expire)
        else:
            group.remove(member)

    @property
    def process(self) -> Process:
        return self._process

    def assignment(self) -> frozenset[TopicPartition]:
        return frozenset(self._positions)

    async def commit(self, offsets: Mapping[TopicPartition, OffsetAndMetadata]) -> None:
        group, coordinator = self._group, self._coordinator
        assert group is not None
        for tp in offsets:
            if tp not in self._positions:
                raise IllegalStateError(f"Partition {tp} is not assigned")

        def commit() -> None:
            group.check(coordinator.member_id, coordinator.generation, in_transaction=False)
            group.commit(offsets, self._process)

        try:
            await self._process.ask(f"commits {_told(offsets)}", commit)
        except (UnknownMemberIdError, IllegalGenerationError) as error:
            raise CommitFailedError("the group has gone on") from error

    # ------------------------------------------------------------ reading

    def assign(self, partitions: Iterable[TopicPartition]) -> None:
        self._positions = dict.fromkeys(partitions, 0)
        self._reassigned.set()

    def seek(self, partition: TopicPartition, offset: int) -> None:
        if partition not in self._positions:
            raise IllegalStateError(f"Partition {partition} is not assigned")
        self._positions[partition] = offset
        self.wake()

    def pause(self, *partitions: TopicPartition) -> None:
        self._paused |= set(partitions)

    def resume(self, *partitions: TopicPartition) -> None:
        self._paused -= set(partitions)
        self.wake()

    def wake(self) -> None:
        """Something other than a record is there for whoever polls."""
        if self._woken is not None and not self._woken.done():
            self._woken.set_result(None)

    async def position(self, partition: TopicPartition) -> int:
        return self._positions[partition]

    async def beginning_offsets(self, partitions: Iterable[TopicPartition]) -> dict[TopicPartition, int]:
        return dict.fromkeys(partitions, 0)

    async def offsets_for_times(self, times: Mapping[TopicPartition, int]) -> dict[TopicPartition, None]:
        """Nothing is ever removed here."""
        return dict.fromkeys(times)

    async def end_offsets(self, partitions: Iterable[TopicPartition]) -> dict[TopicPartition, int]:
        return await self._process.ask(
            "asks for ends", lambda: {tp: self._broker.logs[tp].end(self._committed) for tp in partitions}
        )

    def highwater(self, partition: TopicPartition) -> int:
        return len(self._broker.logs[partition].entries)

    async def getmany(
        self, timeout_ms: int = 0, max_records: int = 500
    ) -> dict[TopicPartition, list[ConsumerRecord[Any, Any]]]:
        await self._process.passes("polls")
        until_s = self._world.loop.now_s + min(timeout_ms / 1000, self._idle_s)
        while True:
            await self._reassigned.wait()
            if fetched := self._fetched(max_records):
                self._world.note(self._process, f"fetched {_counts(fetched)}")
                self._idle_s = IDLE_S_MIN
                return fetched
            if self._world.loop.now_s >= until_s or self._process.stopping:
                self._idle_s *= IDLE_GROWTH
                return {}
            await self._change(until_s)
            if self._world.loop.now_s < until_s:
                await self._process.passes("fetches")

    async def _change(self, until_s: float) -> None:
        """Until something was appended, or this consumer reads elsewhere, or the time is up."""
        waiter = self._woken = self._world.loop.create_future()
        logs = [self._broker.logs[tp] for tp in self._positions if tp not in self._paused]
        for log in logs:
            log.waiters.add(waiter)
        timer = self._world.loop.call_at(until_s, self.wake)
        try:
            await waiter
        finally:
            timer.cancel()
            for log in logs:
                log.waiters.discard(waiter)

    def _fetched(self, max_records: int) -> dict[TopicPartition, list[ConsumerRecord[Any, Any]]]:
        most = min(max_records, 1 << self._world.chance.randrange(8))
        fetched: dict[TopicPartition, list[ConsumerRecord[Any, Any]]] = {}
        for tp in self._positions:
            if tp not in self._paused and most > 0 and (records := self._read(tp, most)):
                fetched[tp] = records
                most -= len(records)
        return fetched

    def _read(self, tp: TopicPartition, most: int) -> list[ConsumerRecord[Any, Any]]:
        log = self._broker.logs[tp]
        offset, end = self._positions[tp], log.end(self._committed)
        records: list[ConsumerRecord[Any, Any]] = []
        while offset < end and len(records) < most:
            entry = log.entries[offset]
            if entry.by is not None and (entry.counts or not self._committed):
                records.append(_record(tp, offset, entry))
            offset += 1
        self._positions[tp] = max(offset, self._positions[tp])
        return records


def _record(tp: TopicPartition, offset: int, entry: Entry) -> ConsumerRecord[Any, Any]:
    return ConsumerRecord(
        *(tp.topic, tp.partition, offset, entry.timestamp, 0, entry.key, entry.value, None, 0, 0),
        headers=entry.headers,
    )


def _told(offsets: Mapping[TopicPartition, OffsetAndMetadata]) -> str:
    told = ", ".join(
        f"{tp.topic}/{tp.partition} {at.offset} {at.metadata}".strip() for tp, at in offsets.items()
    )
    return told or "nothing"


def _counts(fetched: Mapping[TopicPartition, list[Any]]) -> str:
    return ", ".join(f"{len(rows)} of {tp.topic}/{tp.partition}" for tp, rows in fetched.items())
