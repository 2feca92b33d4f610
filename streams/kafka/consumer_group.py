"""A stage's seat in its consumer group: which partitions it has, and since when it may read them.

    join ─▶ assigned, paused ─▶ stable offsets ─▶ the owner takes them (restores state) ─▶ serve ─▶ records
    rebalance ─▶ the owner lets go of all ─▶ assigned …

Nothing long is awaited when partitions are assigned: the consumer does not heartbeat until that callback
returns. A partition stays paused until its owner calls `serve`, with the offset to read from; what aiokafka
fetched before that is dropped by the seek. The membership that fences commits (see `protocol`) is noted with
the assignment, not asked for at the commit: a consumer that has lost its group forgets its generation, and a
commit without one would not be checked at all.

Members are static (see `static_member`): a worker that is restarted within the session timeout takes its
partitions again without a rebalance. The range assignor goes by the members' ids, which begin with the
instance id: all stages of a worker hold the partitions of the same numbers.
"""

# aiokafka is annotated only in part.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false

import asyncio
import contextlib
import logging
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable, Mapping
from contextlib import asynccontextmanager
from typing import Any, Protocol

from aiokafka import AIOKafkaConsumer, ConsumerRebalanceListener
from aiokafka.client import ConnectionGroup
from aiokafka.coordinator.assignors.range import RangePartitionAssignor
from aiokafka.errors import KafkaError, OffsetOutOfRangeError, for_code
from aiokafka.structs import TopicPartition

from segue.streams.kafka.aiokafka_internals import (
    GroupMember,
    client_of,
    given_values,
    read_any_header_name,
)
from segue.streams.kafka.broker_limits import metadata_bytes_max
from segue.streams.kafka.committer import Committer, committer
from segue.streams.kafka.positions import Committed, Positions
from segue.streams.kafka.protocol import (
    FENCED_INSTANCE_ID,
    REBALANCE_IN_PROGRESS,
    REPLACED,
    UNSTABLE_OFFSET_COMMIT,
    Exactly,
    Membership,
    Replaced,
    stable_offsets,
)
from segue.streams.kafka.static_member import Lease, StaticMember, heartbeat, leave_group, now_s
from segue.streams.process.garbage_collection import look_for_all_garbage_soon
from segue.streams.security.encryption import keys_of
from segue.streams.settings import Settings
from segue.topics.flow import Received

log = logging.getLogger(__name__)

HEARTBEATS_PER_SESSION = 3
UNSTABLE_RETRY_S = 0.05
FETCH_BYTES_MAX = 1024 * 1024
"""Of one partition, ahead of what is handled: keeps a worker small, and is more than any record of ours."""

POLL_INTERVAL_MS_MAX = 24 * 60 * 60 * 1000
"""Heartbeats show that the loop is alive; a stage that waits for slow calls does not poll, and must stay."""

STOP_S_MAX = 5.0

HELD_RETRY_S = 0.1
HELD_S_MAX = 20.0
"""Longer than a broker takes to fail over; a stage that waits so long for a heartbeat is started anew."""


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
        self, settings: Settings, stage: str, static: StaticMember, topics: Iterable[str], owner: Owner
    ) -> None:
        read_any_header_name()
        self._name = settings.group(stage)
        self._static = static
        self._lease = Lease(settings.session_timeout_ms)
        self._asking = asyncio.Lock()
        self._stage = stage
        self._names = {settings.topic(name): name for name in topics}
        self._owner = owner
        self._keys = keys_of(settings)
        self._taking: asyncio.Task[None] | None = None
        self._leaving = False
        options = settings.client_options()
        options["client_id"] = f"segue-{static.worker}-{stage}"
        self.consumer = AIOKafkaConsumer(
            **options,
            group_id=self._name,
            group_instance_id=static.instance,
            isolation_level="read_committed" if settings.guarantee == "exactly_once" else "read_uncommitted",
            enable_auto_commit=False,
            auto_offset_reset="none",
            partition_assignment_strategy=[RangePartitionAssignor],
            session_timeout_ms=settings.session_timeout_ms,
            heartbeat_interval_ms=settings.session_timeout_ms // HEARTBEATS_PER_SESSION,
            max_poll_interval_ms=POLL_INTERVAL_MS_MAX,
            rebalance_timeout_ms=max(settings.session_timeout_ms, 30_000),
            max_partition_fetch_bytes=FETCH_BYTES_MAX,
        )
        self._member = GroupMember(self.consumer)
        self.positions = Positions(self.consumer, self._names, stage, self._name)
        self.membership = Membership(self._name, -1, "")
        self._prepare: Callable[[], Awaitable[None]] | None = None
        self._beat: Callable[[], Awaitable[bool]]
        self._rejoin: Callable[[Any], Awaitable[bool]]
        self._gives_up = True
        self.ready = asyncio.Event()
        """Set while every assigned partition is served."""

    async def join(self, prepare: Callable[[], Awaitable[None]] | None = None) -> None:
        """`prepare` is awaited once the group has taken this member in, before its partitions are taken.

        Only then, so that a worker whose name another one has taken learns that from the group, and does not
        fence the other's producer. Raises `NameTaken`.
        """
        self._prepare = prepare
        await self.consumer.start()
        await self._static.ensure_free(self._send)
        self._beat = self._member.replace_heartbeat(self._heartbeat)
        self._rejoin = self._member.replace_rejoin(self._join_if_free)
        self._member.replace_leave(self._leave_group)
        self.consumer.subscribe(list(self._names), listener=self)

    async def leave(self, error: BaseException | None = None, lasted_s: float = 0.0) -> None:
        """The session is over, by `error` if there is one."""
        self._leaving = True
        self._gives_up = self._static.ended(error, lasted_s)
        if self._member.has_started:
            self._static.joined(self._member.id)
        self.ready.clear()
        await self._stop_taking()
        with contextlib.suppress(TimeoutError, KafkaError):
            async with asyncio.timeout(STOP_S_MAX):
                await self.consumer.stop()
                return
        log.warning(
            "stage %s could not leave its consumer group in time: its session will time out", self._stage
        )

    async def poll(self, wait_ms: int, records_max: int) -> Batch:
        """Records of the partitions that are served. Raises what went wrong while partitions were taken."""
        taking = self._taking
        if taking is not None and taking.done() and not taking.cancelled():  # else the group rebalances
            self._taking = None
            taking.result()
        try:
            fetched: dict[TopicPartition, list[Any]] = await self.consumer.getmany(
                timeout_ms=wait_ms, max_records=records_max
            )
        except OffsetOutOfRangeError as error:
            await self.positions.pass_over(error.args[0])
            return {}
        if fetched:
            fetched_as = self.membership
            await self.ensure_held()
            if self.membership is not fetched_as:
                return {}  # it comes again, to whoever owns the partitions now
        batch = {tp: [_received(self._names[tp.topic], r) for r in rs] for tp, rs in fetched.items()}
        if self._keys is None:
            return batch
        return {tp: [self._keys.opened(record) for record in records] for tp, records in batch.items()}

    def serve(self, partition: TopicPartition, offset: int) -> None:
        """Read from `offset` on."""
        self.consumer.seek(partition, offset)
        self.consumer.resume(partition)

    def hold(self, partition: TopicPartition, offset: int) -> None:
        """Read nothing of the partition until it is resumed; then from `offset` on."""
        self.consumer.pause(partition)
        self.consumer.seek(partition, offset)

    def resume(self, partition: TopicPartition) -> None:
        self.consumer.resume(partition)

    async def metadata_bytes_max(self) -> int | None:
        """How much metadata the group's coordinator takes with an offset; None if it does not say."""
        return await metadata_bytes_max(self.client, await self._member.node())

    @property
    def client(self) -> Any:
        """The consumer's `AIOKafkaClient`."""
        return client_of(self.consumer)

    # ------------------------------------------------------------ the lease

    async def ensure_held(self) -> None:
        """Returns when the partitions are surely this member's. Raises `Replaced` or `NameTaken` if not.

        A process that was stopped for a while has records in its memory that others have handled since.
        """
        until_s = time.monotonic() + HELD_S_MAX
        while not await self.holds():
            if time.monotonic() > until_s:
                raise Replaced(f"group {self._name} has not answered a heartbeat for {HELD_S_MAX:g} s")
            await asyncio.sleep(HELD_RETRY_S)

    async def until_held(self) -> None:
        """Returns when the partitions are surely this member's, or the session is over."""
        while not self._leaving:
            with contextlib.suppress(KafkaError):  # `poll` learns of it too, and raises it
                if await self.holds():
                    return
            await asyncio.sleep(HELD_RETRY_S)

    async def holds(self) -> bool:
        """Whether the partitions are surely this member's; where the lease has run out the group is asked.

        False if the group can't be asked now. Raises `Replaced` or `NameTaken` if they are another's.
        """
        if self._lease.holds():
            return True
        async with self._asking:
            if not self._lease.holds():
                await self._ask()
        return self._lease.holds()

    async def _ask(self) -> int | None:
        """Send a heartbeat. Returns the code of its answer, None if there was none."""
        membership, asked_s = self.membership, now_s()
        try:
            answer = await self._send(heartbeat(membership))
        except KafkaError as error:
            log.debug("stage %s: no heartbeat: %s", self._stage, error)
            return None
        code = int(answer.error_code)
        if membership is self.membership:
            if code == FENCED_INSTANCE_ID:
                raise self._static.taken("started later")
            if code in REPLACED:
                self._lease.end()
                raise Replaced(f"generation {membership.generation} of group {self._name} is over")
            if code in (0, REBALANCE_IN_PROGRESS):
                self._lease.renew(asked_s)
        return code

    async def _heartbeat(self) -> bool:
        """In place of aiokafka's: with the instance id, so that the group tells of another of this name.

        Whatever else the group may say is aiokafka's to handle.
        """
        with contextlib.suppress(Replaced):
            if await self._ask() == 0:
                return True
        return bool(await self._beat())

    async def _join_if_free(self, subscription: Any) -> bool:
        """In place of aiokafka's, which would take the name back from a worker that has it by now."""
        if self.membership.member and not self._member.id:
            await self._static.ensure_free(self._send, always=True)
        return bool(await self._rejoin(subscription))

    async def _leave_group(self) -> None:
        """In place of aiokafka's, by which a static member never leaves."""
        if self._member.generation > 0 and self._gives_up:
            await self._send(leave_group(self._membership_now()))
        self._member.forget()

    async def _send(self, request: Exactly) -> Any:
        """To the group's coordinator."""
        return await self.client.send(await self._member.node(), request, group=ConnectionGroup.COORDINATION)

    def _membership_now(self) -> Membership:
        return Membership(self._name, self._member.generation, self._member.id, self._static.instance)

    # ------------------------------------------------------------ rebalances, called by aiokafka

    async def on_partitions_revoked(self, revoked: Any) -> None:  # pyright: ignore[reportIncompatibleMethodOverride]
        self.ready.clear()
        await self._stop_taking()
        await self._owner.release()

    async def on_partitions_assigned(self, assigned: Any) -> None:  # pyright: ignore[reportIncompatibleMethodOverride]
        if self._leaving:
            return  # the owner may sit in another seat by now, and would commit from where this one began
        self.consumer.pause(*assigned)
        for tp in assigned:
            self.consumer.seek(
                tp, 0
            )  # until it is served; without a position the consumer would look for one
        self.membership = self._membership_now()
        self._static.joined(self.membership.member)
        self._lease.end()
        self.positions.losses.clear()
        numbers = sorted({tp.partition for tp in assigned})
        log.info("stage %s is assigned partitions %s", self._stage, numbers or "none")
        self._taking = asyncio.create_task(self._take(frozenset(assigned)))
        look_for_all_garbage_soon()

    async def _stop_taking(self) -> None:
        """Whatever went wrong with an assignment that is over no longer matters."""
        if self._taking is not None:
            self._taking.cancel()
            await asyncio.gather(self._taking, return_exceptions=True)
            self._taking = None

    async def _take(self, assigned: frozenset[TopicPartition]) -> None:
        if self._prepare is not None:
            await self._prepare()
            self._prepare = None
        await self._owner.take(await self._stable_offsets(assigned))
        self.ready.set()

    # ------------------------------------------------------------ offsets

    async def lags(self, in_hand: Mapping[TopicPartition, int]) -> list[tuple[str, int, int]]:
        """Return topic, partition, and how many records of it wait, as of the last fetch.

        They are those behind the last that was read, and those `in_hand`. The consumer reads past the markers
        of transactions, so behind the last record nothing waits.
        """
        assigned = self.consumer.assignment()
        found: list[tuple[str, int, int]] = []
        for tp, count in in_hand.items():
            if tp in assigned and (end := self.consumer.highwater(tp)) is not None:
                behind = max(0, end - await self.consumer.position(tp))
                found.append((self._names[tp.topic], tp.partition, behind + count))
        return found

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
        response = await self._send(stable_offsets(self._name, partitions))
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
    settings: Settings, stage: str, static: StaticMember, topics: Iterable[str], owner: Owner
) -> AsyncGenerator[tuple[Group, Committer]]:
    """A seat in the group and a committer, from before the first assignment until after the last commit."""
    group = Group(settings, stage, static, topics, owner)
    commits = committer(settings, group.consumer, stage, static.worker)
    began_s, failure = time.monotonic(), None
    try:
        await group.join(commits.start)
        yield group, commits
    except BaseException as error:
        failure = error
        raise
    finally:
        await group.leave(failure, time.monotonic() - began_s)
        await commits.stop()
