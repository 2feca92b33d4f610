"""A stage's seat in its consumer group: which partitions it has, and since when it may read them.

    join ─▶ assigned, paused ─▶ stable offsets ─▶ the owner takes them (restores state) ─▶ serve ─▶ records
    rebalance ─▶ the owner lets go of all ─▶ assigned …

Nothing long is awaited when partitions are assigned: the consumer does not heartbeat until that callback
returns. A partition stays paused until its owner calls `serve`, with the offset to read from; what aiokafka
fetched before that is dropped by the seek. The membership that fences commits (see `protocol`) is noted with
the assignment, not asked for at the commit: a consumer that has lost its group forgets its generation, and a
commit without one would not be checked at all.

The range assignor goes by the members' names, which begin with the client id: partitions stay put when a
worker is restarted, and all stages of a worker hold the partitions of the same numbers.
"""

# aiokafka is annotated only in part.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# pyright: reportPrivateUsage=false

import asyncio
import contextlib
import logging
from collections.abc import AsyncGenerator, Iterable, Iterator, Mapping
from contextlib import asynccontextmanager
from typing import Any, NamedTuple, Protocol

from aiokafka import AIOKafkaConsumer, ConsumerRebalanceListener
from aiokafka.client import ConnectionGroup
from aiokafka.coordinator.assignors.range import RangePartitionAssignor
from aiokafka.errors import KafkaError, for_code
from aiokafka.structs import TopicPartition

from streams.collector import look_for_all_garbage_soon
from streams.encryption import keys_of
from streams.headers import given_values, read_any_header_name
from streams.protocol import UNSTABLE_OFFSET_COMMIT, Membership, stable_offsets
from streams.settings import Settings
from streams.transactions import Committer, committer
from topics.flow import Received

log = logging.getLogger(__name__)

HEARTBEATS_PER_SESSION = 3
UNSTABLE_RETRY_S = 0.05
FETCH_BYTES_MAX = 1024 * 1024
"""Of one partition, ahead of what is handled: keeps a worker small, and is more than any record of ours."""

POLL_INTERVAL_MS_MAX = 24 * 60 * 60 * 1000
"""Heartbeats show that the loop is alive; a stage that waits for slow calls does not poll, and must stay."""

STOP_S_MAX = 5.0


class Committed(NamedTuple):
    """What the group has committed for a partition; `offset` is None if nothing."""

    offset: int | None
    metadata: str


Batch = dict[TopicPartition, list[Received]]


class Owner(Protocol):
    """Who reads the partitions."""

    async def take(self, partitions: Mapping[TopicPartition, Committed]) -> None:
        """Get ready, and `serve` each. May take long; is cancelled if the group rebalances meanwhile."""
        ...

    async def release(self) -> None:
        """Finish what runs and let go of all partitions, within the rebalance timeout."""
        ...


class Group(ConsumerRebalanceListener):
    def __init__(
        self, settings: Settings, stage: str, worker: str, topics: Iterable[str], owner: Owner
    ) -> None:
        read_any_header_name()
        self._name = settings.group(stage)
        self._stage = stage
        self._names = {settings.topic(name): name for name in topics}
        self._owner = owner
        self._keys = keys_of(settings)
        self._taking: asyncio.Task[None] | None = None
        self._leaving = False
        options = settings.client_options()
        options["client_id"] = f"segue-{worker}-{stage}"
        self.consumer = AIOKafkaConsumer(
            **options,
            group_id=self._name,
            isolation_level="read_committed" if settings.guarantee == "exactly_once" else "read_uncommitted",
            enable_auto_commit=False,
            auto_offset_reset="earliest",
            partition_assignment_strategy=[RangePartitionAssignor],
            session_timeout_ms=settings.session_timeout_ms,
            heartbeat_interval_ms=settings.session_timeout_ms // HEARTBEATS_PER_SESSION,
            max_poll_interval_ms=POLL_INTERVAL_MS_MAX,
            rebalance_timeout_ms=max(settings.session_timeout_ms, 30_000),
            max_partition_fetch_bytes=FETCH_BYTES_MAX,
        )
        self.membership = Membership(self._name, -1, "")
        self.ready = asyncio.Event()
        """Set while every assigned partition is served."""

    async def join(self) -> None:
        await self.consumer.start()
        self.consumer.subscribe(list(self._names), listener=self)

    async def leave(self) -> None:
        self._leaving = True
        self.ready.clear()
        await self._stop_taking()
        with contextlib.suppress(TimeoutError, KafkaError):
            async with asyncio.timeout(STOP_S_MAX):
                await self.consumer.stop()
                return
        log.warning("stage %s could not leave its group in time; its session runs out by itself", self._stage)

    async def poll(self, wait_ms: int, records_max: int) -> Batch:
        """Records of the partitions that are served. Raises what went wrong while partitions were taken."""
        taking = self._taking
        if taking is not None and taking.done() and not taking.cancelled():  # else the group rebalances
            self._taking = None
            taking.result()
        fetched: dict[TopicPartition, list[Any]] = await self.consumer.getmany(
            timeout_ms=wait_ms, max_records=records_max
        )
        batch = {tp: [_received(self._names[tp.topic], r) for r in rs] for tp, rs in fetched.items()}
        if self._keys is None:
            return batch
        return {tp: [self._keys.opened(record) for record in records] for tp, records in batch.items()}

    def serve(self, partition: TopicPartition, offset: int) -> None:
        """Read from `offset` on."""
        self.consumer.seek(partition, offset)
        self.consumer.resume(partition)

    # ------------------------------------------------------------ rebalances, called by aiokafka

    async def on_partitions_revoked(self, revoked: Any) -> None:  # pyright: ignore[reportIncompatibleMethodOverride]
        self.ready.clear()
        await self._stop_taking()
        await self._owner.release()

    async def on_partitions_assigned(self, assigned: Any) -> None:  # pyright: ignore[reportIncompatibleMethodOverride]
        if self._leaving:
            return  # the owner may sit in another seat by now, and would commit from where this one began
        self.consumer.pause(*assigned)
        coordinator: Any = self.consumer._coordinator
        self.membership = Membership(self._name, coordinator.generation, coordinator.member_id)
        numbers = sorted({tp.partition for tp in assigned})
        log.info("stage %s has partitions %s", self._stage, numbers or "none")
        self._taking = asyncio.create_task(self._take(frozenset(assigned)))
        look_for_all_garbage_soon()

    async def _stop_taking(self) -> None:
        """Whatever went wrong with an assignment that is over no longer matters."""
        if self._taking is not None:
            self._taking.cancel()
            await asyncio.gather(self._taking, return_exceptions=True)
            self._taking = None

    async def _take(self, assigned: frozenset[TopicPartition]) -> None:
        await self._owner.take(await self._stable_offsets(assigned))
        self.ready.set()

    # ------------------------------------------------------------ offsets

    async def starts(self, partitions: Mapping[TopicPartition, Committed]) -> dict[TopicPartition, int]:
        """Where to read on: the committed offset, or the partition's first record if there is none."""
        fresh = [tp for tp, committed in partitions.items() if committed.offset is None]
        first = await self.consumer.beginning_offsets(fresh) if fresh else {}
        return {tp: first[tp] if at.offset is None else at.offset for tp, at in partitions.items()}

    def lags(self, positions: Mapping[TopicPartition, int]) -> Iterator[tuple[str, int, int]]:
        """Topic, partition, and how many records of it are not committed, as of the last fetch."""
        for tp, position in positions.items():
            if self.consumer.assignment() and (end := self.consumer.highwater(tp)) is not None:
                yield self._names[tp.topic], tp.partition, max(0, end - position)

    async def _stable_offsets(self, partitions: frozenset[TopicPartition]) -> dict[TopicPartition, Committed]:
        """Waits until no transaction with newer offsets of them is open: that of a worker that died, say."""
        if not partitions:
            return {}
        while True:
            found = await self._fetch_offsets(partitions)
            if found is not None:
                return found
            await asyncio.sleep(UNSTABLE_RETRY_S)

    async def _fetch_offsets(
        self, partitions: frozenset[TopicPartition]
    ) -> dict[TopicPartition, Committed] | None:
        coordinator: Any = self.consumer._coordinator
        client: Any = self.consumer._client
        await coordinator.ensure_coordinator_known()
        request = stable_offsets(self._name, partitions)
        response = await client.send(coordinator.coordinator_id, request, group=ConnectionGroup.COORDINATION)
        rows = [(topic, *row) for topic, rows, _ in response.topics for row in rows]
        codes = {response.error_code} | {code for _, _, _, _, _, code, _ in rows}
        if UNSTABLE_OFFSET_COMMIT in codes:
            return None
        for code in codes - {0}:
            raise for_code(code)(f"can't read the offsets of group {self._name}")
        return {
            TopicPartition(topic, number): Committed(offset if offset >= 0 else None, metadata or "")
            for topic, number, offset, _, metadata, _, _ in rows
        }


def _received(topic: str, record: Any) -> Received:
    return Received(
        topic,
        record.partition,
        record.offset,
        record.key,
        record.value,
        given_values(record.headers),
        record.timestamp,
    )


@asynccontextmanager
async def session(
    settings: Settings, stage: str, worker: str, topics: Iterable[str], owner: Owner
) -> AsyncGenerator[tuple[Group, Committer]]:
    """A seat in the group and a committer, from before the first assignment until after the last commit."""
    group = Group(settings, stage, worker, topics, owner)
    commits = committer(settings, group.consumer, stage, worker)
    try:
        await commits.start()
        await group.join()
        yield group, commits
    finally:
        await group.leave()
        await commits.stop()
