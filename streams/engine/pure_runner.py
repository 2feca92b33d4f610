"""Runs a pure stage: a batch of records in, decisions, one commit of all that they ask for.

    fetch ─▶ handle each record ─▶ local calls ─▶ one transaction: outputs, changelog, offsets ─▶ RocksDB

Nothing is kept of a batch that could not be committed: the stage is started anew from what is committed
(see `supervision`), which is also what happens after a crash. A bug in a stage costs only the record that it
showed on: that is put aside (see `stages.put_aside`), and what the stage remembers, which may be
half changed, is read anew.
"""

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Callable, Container, Mapping
from dataclasses import dataclass
from math import ceil

from aiokafka.structs import OffsetAndMetadata, TopicPartition

from segue.processors.stages.put_aside import PutsAside, handled
from segue.processors.tasks.task_cache import parked_tasks
from segue.streams.engine.local_calls import LocalCalls
from segue.streams.engine.losses import handled_up_to, ids_of, made_anew, position, told
from segue.streams.engine.outbox import Outbox, Unfit
from segue.streams.engine.rebuilding import Rebuilder, is_lost
from segue.streams.engine.tenants import tenants_for
from segue.streams.engine.write_back import WritingBack
from segue.streams.kafka.broker_clock import now_ms as clock_ms
from segue.streams.kafka.consumer_group import Batch, Group, session
from segue.streams.kafka.offsets.tracker import committed
from segue.streams.kafka.positions import Committed, Loss
from segue.streams.kafka.producer import Ends, Offsets
from segue.streams.kafka.protocol import Membership
from segue.streams.kafka.static_member import static_member
from segue.streams.object_store.store import Objects
from segue.streams.object_store.storing import NotStored, Storing
from segue.streams.observability.failure_log import FailureLog
from segue.streams.observability.metrics import Metrics
from segue.streams.security.encryption import Keys, OpenedState, keys_of
from segue.streams.settings import Settings
from segue.streams.state.disk_space import StateFailed, ensure_room
from segue.streams.state.restore import open_restored
from segue.streams.state.store import Empty, Store
from segue.streams.text.redaction import redact
from segue.topics import contracts
from segue.topics.descriptions import is_ctrl_c
from segue.topics.errors import in_words
from segue.topics.flow import Decision, Received, Stage, State, dead_letter

log = logging.getLogger(__name__)

BATCH_RECORDS_MAX = 500
"""More makes a transaction's fixed cost no smaller worth mentioning, and the first record wait longer."""

LINGER_S = {"exactly_once": 0.003, "at_least_once": 0.001}
"""How long a batch may wait for more records: about what a commit takes, which costs the same for all."""

SOME = 4
"""From so many records on more are to come. A task alone waits for nobody."""

MANY = 64
"""So many don't wait: their commit is a small part of what they cost."""

OUTBOX_RECORDS_MAX = 20_000
"""Records in one commit, from which on it does not wait for the rest of its batch: some fan out widely."""

POLL_MS_MAX = 500
"""How long a stop may go unnoticed by an idle stage."""

LAG_EVERY_S = 5.0

TOPICS_EVERY_S = 60.0
"""How often `conduct` looks whether a topic was deleted and made anew."""


@dataclass(frozen=True)
class PureStage:
    """`make` builds the stage's object for one partition over its committed state."""

    name: str
    make: Callable[[State], Stage]
    lingers: bool = False
    """Whether batches wait a moment for more."""
    make_again: Callable[[State, Container[str]], Stage] | None = None
    """Builds the stage that handles old logs again if the state is lost, given who waited for its turn."""
    on_taken: Callable[[Stage, int], None] | None = None
    """Called with the stage's object of each partition that was taken, and the time."""

    @property
    def topics(self) -> list[str]:
        """What it reads, by the contracts; a topic without a type is a changelog."""
        return [
            topic.name for topic in contracts.ALL if self.name in topic.read_by and topic.type is not None
        ]

    @property
    def changelog(self) -> str | None:
        mine = (self.name,)
        return next((t.name for t in contracts.ALL if t.written_by == mine and t.read_by == mine), None)


class Partition:
    """A stage's object on one partition, and the state under it."""

    def __init__(
        self,
        stage: PureStage,
        store: Store | None,
        changelog: TopicPartition | None,
        keys: Keys | None,
        local: LocalCalls | None = None,
        storing: Storing | None = None,
    ) -> None:
        self._stage = stage
        self._keys = keys
        self._storing = storing
        self._local = local
        self.store = store
        self.changelog = changelog
        self.object = stage.make(self._state())

    async def handle(self, record: Received, outbox: Outbox, now_ms: int, *, again: bool = False) -> None:
        """Adds to `outbox` what the stage decides, or a dead letter if it can't.

        What is handled `again`, to rebuild the state, refers to what was stored the first time.
        """
        try:
            decision = self.object.handle(record, now_ms)
            if self._storing is not None and not again:
                await self._storing.store(decision)
            self.accept(decision, record, outbox)
        except (Unfit, NotStored) as refused:
            self._put_aside(record, str(refused), outbox, now_ms)
        except StateFailed:
            raise
        except BaseException as bug:
            if is_ctrl_c(bug):
                raise
            log.exception(
                "stage %s failed on %s/%d at %d: that record goes to the dead letters, the stage goes on",
                *(self._stage.name, record.topic, record.partition, record.offset),
            )
            self._put_aside(record, redact(in_words(bug)), outbox, now_ms)

    async def tick(self, outbox: Outbox, now_ms: int) -> bool:
        """True if something was due. What can't be done is passed over, where the stage knows what it was."""
        if self._storing is not None and self._storing.is_due_again():
            self.remake(self._stage.make)
        due_ms = self.object.due_ms()
        if due_ms is None or due_ms > now_ms:
            return False
        try:
            decision = self.object.tick(now_ms)
            if self._storing is not None:
                await self._storing.store(decision)
            self.accept(decision, None, outbox)
        except StateFailed:
            raise
        except BaseException as bug:
            if is_ctrl_c(bug):
                raise
            if not isinstance(bug, NotStored):
                log.exception("stage %s failed at what was due: that is put aside", self._stage.name)
            instead = handled(self.object, self._stage.name, None, redact(in_words(bug)), now_ms)
            if instead is None:
                raise
            self.accept(instead, None, outbox)
        return True

    def note(self, topic: str, offset: int, outbox: Outbox) -> None:
        """With the state goes how far it has come."""
        if self.store is not None:
            self.accept(Decision(write=[position(topic, offset)]), None, outbox)

    def committed(self, ends: Ends, now_ms: int, *, fenced: bool = True) -> None:
        if self.store is not None and self.changelog is not None and self.changelog in ends:
            self.store.commit(ends[self.changelog], now_ms, fenced=fenced)

    def accept(self, decision: Decision, cause: Received | None, outbox: Outbox) -> None:
        asked = self._local.taken_from(decision, cause) if self._local is not None else ()
        writes = outbox.add(decision, cause, self.changelog)
        outbox.local += asked
        if self.store is not None and writes:
            self.store.pend(writes)

    def _put_aside(self, record: Received, reason: str, outbox: Outbox, now_ms: int) -> None:
        """The record alone, if what follows from that fails as well."""
        try:
            decision = handled(self.object, self._stage.name, record, reason, now_ms)
            self.accept(decision or Decision(), record, outbox)
        except StateFailed:
            raise
        except Exception:
            log.exception("stage %s can't tell of a record that it put aside", self._stage.name)
            outbox.add(Decision([dead_letter(record, self._stage.name, reason, now_ms)]), record)
        if not isinstance(self.object, PutsAside):
            self.remake(self._stage.make)

    def remake(self, make: Callable[[State], Stage]) -> None:
        """Begin anew from the state: `conduct` then tries each parked task again."""
        self.object.close()
        self.object = make(self._state())

    def _state(self) -> State:
        if self.store is None or self._stage.changelog is None:
            return Empty()
        if self._keys is None:
            return self.store
        return OpenedState(self._keys, self._stage.changelog, self.store)


class PureRunner:
    """One stage on this worker: `run` until `stop`, or until Kafka or a bug ends it with an exception."""

    def __init__(
        self,
        stage: PureStage,
        settings: Settings,
        worker: str,
        metrics: Metrics,
        local: LocalCalls | None = None,
        objects: Objects | None = None,
    ) -> None:
        self.name = stage.name
        self._local = local
        self._objects = objects
        self._stage = stage
        self._settings = settings
        self._tenants = tenants_for(settings, stage.name)
        self._member = static_member(settings, stage.name, worker)
        self._metrics = metrics
        self._failures = FailureLog(sealed=settings.encryption_keys is not None)
        self._directory = settings.state_dir / worker / settings.topic_prefix
        self._group: Group | None = None
        self._partitions: dict[TopicPartition, Partition] = {}
        self._positions: dict[TopicPartition, int] = {}
        self._stores: list[Store] = []
        self._found: list[tuple[TopicPartition, Decision]] = []
        """What was lost, to be told with the next commit."""
        self._turn = asyncio.Lock()
        """Held while a batch is on its way: a rebalance or stop waits for it."""
        self._stopping = False
        self._lag_due_s = self._topics_due_s = 0.0

    @property
    def ready(self) -> bool:
        """All partitions that the group gave to this worker are served."""
        return self._group is not None and self._group.ready.is_set()

    def partitions(self) -> set[int]:
        """The numbers of those that it serves now."""
        return {tp.partition for tp in self._partitions}

    async def open(self) -> None: ...

    async def run(self) -> None:
        if self._stage.changelog is not None:
            ensure_room(self._directory)
        async with session(self._settings, self.name, self._member, self._stage.topics, self) as seat:
            self._group, self._committer = seat
            try:
                await self._poll(self._group)
            finally:
                self._let_go()

    async def stop(self) -> None:
        """`run` returns when the batch in hand is committed."""
        self._stopping = True

    async def close(self) -> None:
        if self._tenants is not None:
            await self._tenants.close()

    # ------------------------------------------------------------ the loop

    async def _poll(self, group: Group) -> None:
        while not self._stopping:
            if self.name == "conduct" and self._partitions and time.monotonic() >= self._topics_due_s:
                await self._compare_topics(group)
            batch, fetched_as = await self._fetch(group)
            if self._tenants is not None:
                batch = await self._tenants.named(batch)
            async with self._turn:
                if group.membership is fetched_as:
                    await self._handle(group, batch)
            await self._report_lag(group)

    async def _compare_topics(self, group: Group) -> None:
        """Whether those on which calls are asked for are the topics that the state knows."""
        self._topics_due_s = time.monotonic() + TOPICS_EVERY_S
        ids, positions = await ids_of(group.client, self._settings), group.positions
        async with self._turn:
            for tp, partition in list(self._partitions.items()):
                assert partition.store is not None
                given = (self._settings, ids, partition.store, tp.partition, clock_ms())
                if (decision := await made_anew(positions, *given)) != Decision():
                    self._found.append((tp, decision))

    async def _fetch(self, group: Group) -> tuple[Batch, Membership]:
        """What has come, and as whom; unless it is few or many, with what comes within a moment.

        What was fetched before a rebalance comes again after it.
        """
        batch = await group.poll(self._wait_ms(), BATCH_RECORDS_MAX)
        fetched_as = group.membership
        until_s = time.monotonic() + (LINGER_S[self._settings.guarantee] if self._stage.lingers else 0.0)
        while SOME <= (count := _size(batch)) < MANY and (left_s := until_s - time.monotonic()) > 0:
            more = await group.poll(ceil(left_s * 1000), BATCH_RECORDS_MAX - count)
            if group.membership is not fetched_as:
                return more, group.membership
            for tp, records in more.items():
                batch.setdefault(tp, []).extend(records)
        return batch, fetched_as

    def _wait_ms(self) -> int:
        """Until the first delay is due, and no longer than it may take to notice a stop."""
        due = [at for at in (p.object.due_ms() for p in self._partitions.values()) if at is not None]
        return max(0, min(POLL_MS_MAX, min(due) - clock_ms())) if due else POLL_MS_MAX

    async def _handle(self, group: Group, batch: Batch) -> None:
        now_ms = clock_ms()
        outbox = Outbox(self._settings)
        offsets: dict[TopicPartition, OffsetAndMetadata] = {}
        self._found += [
            (loss.at, told(loss, self.name, self._metrics, now_ms))
            for loss in group.positions.take_losses(self._partitions)
        ]
        for tp, decision in (found for found in self._found if found[0] in self._partitions):
            self._partitions[tp].accept(decision, None, outbox)
            offsets[tp] = committed(self._positions[tp])
        self._found = [found for found in self._found if found[0] not in self._partitions]
        for tp, records in batch.items():
            if (partition := self._partitions.get(tp)) is None:
                continue  # revoked since it was fetched
            for record in records:
                await partition.handle(record, outbox, now_ms)
                if len(outbox.records) + len(outbox.local) >= OUTBOX_RECORDS_MAX:
                    offsets[tp] = _after(record)
                    await self._commit(group, outbox, offsets, now_ms)
                    outbox, offsets = Outbox(self._settings), {}
            offsets[tp] = _after(records[-1])
        for tp, partition in self._partitions.items():
            if await partition.tick(outbox, now_ms):
                # No new offset; but without one the group would not check that we still hold the partition.
                offsets.setdefault(tp, committed(self._positions[tp]))
        if offsets:
            await self._commit(group, outbox, offsets, now_ms)

    async def _commit(self, group: Group, outbox: Outbox, offsets: Offsets, now_ms: int) -> None:
        for tp, at in offsets.items():
            self._partitions[tp].note(tp.topic.removeprefix(self._settings.topic_prefix), at.offset, outbox)
        await group.ensure_held()
        if self._local is not None and outbox.local:
            await self._local.serve(outbox, self.name, group.until_held)
            await group.ensure_held()
        started_s = time.perf_counter()
        ends = await self._committer.commit(outbox.records, offsets, group.membership, now_ms)
        for partition in self._partitions.values():
            partition.committed(ends, now_ms, fenced=self._settings.guarantee == "exactly_once")
        self._positions.update({tp: at.offset for tp, at in offsets.items()})
        self._metrics.published(self.name, outbox.published)
        self._failures.published(self.name, outbox.published)
        self._metrics.batch(self.name, len(outbox.published), time.perf_counter() - started_s)

    async def _report_lag(self, group: Group) -> None:
        """Between batches, when all that was read is committed."""
        if time.monotonic() < self._lag_due_s:
            return
        self._lag_due_s = time.monotonic() + LAG_EVERY_S
        for topic, number, records in await group.lags(dict.fromkeys(self._partitions, 0)):
            self._metrics.lag(self.name, topic, number, records)
        self._metrics.serves(self.name, self.partitions())
        for tp, partition in self._partitions.items():
            if self.name == "conduct" and partition.store is not None:
                self._metrics.parked(tp.partition, parked_tasks(partition.store))

    # ------------------------------------------------------------ partitions: `group.Owner`

    async def take(self, partitions: Mapping[TopicPartition, Committed]) -> None:
        assert self._group is not None
        stateless = self._stage.changelog is None
        starts = await self._group.positions.starts(partitions, stateless=stateless)
        async for number, store in self._stores_of(partitions):
            for tp in sorted(tp for tp in partitions if tp.partition == number):
                changelog, keys = self._changelog(number), keys_of(self._settings)
                storing = Storing(self._objects) if self._objects is not None else None
                partition = Partition(self._stage, store, changelog, keys, self._local, storing)
                topic = tp.topic.removeprefix(self._settings.topic_prefix)
                handled = handled_up_to(store, topic)
                if store is not None and is_lost(partitions[tp], handled):
                    await self._make_up_for(self._group, tp, partition, starts[tp])
                start = await self._group.positions.resumed(tp, starts[tp], handled)
                self._partitions[tp], self._positions[tp] = partition, start
                self._group.serve(tp, start)
                if self._stage.on_taken is not None:
                    self._stage.on_taken(partition.object, clock_ms())
        self._topics_due_s = 0.0

    async def _make_up_for(self, group: Group, tp: TopicPartition, partition: Partition, end: int) -> None:
        """The state was lost of what stood on the partition before `end`."""
        log.error("stage %s: its state of partition %d was lost", self.name, tp.partition)
        if self._stage.make_again is not None:
            rebuilder = Rebuilder(self._settings, group, self._committer, tp, end)
            await rebuilder.rebuild(partition, self._stage.make_again)
            partition.remake(self._stage.make)
        loss = Loss(tp, tp.topic.removeprefix(self._settings.topic_prefix), end, end, clock_ms())
        self._found.append((tp, told(loss, self.name, self._metrics, clock_ms())))

    async def release(self) -> None:
        async with self._turn:
            self._let_go()

    async def _stores_of(
        self, partitions: Mapping[TopicPartition, Committed]
    ) -> AsyncIterator[tuple[int, Store | None]]:
        numbers = {tp.partition for tp in partitions}
        if self._stage.changelog is None:
            for number in numbers:
                yield number, None
            return
        paths = {number: self._directory / f"{self.name}-{number}" for number in numbers}

        def report(number: int, remaining: int) -> None:
            self._metrics.restoring(self.name, number, remaining)

        rescue = WritingBack(self._settings, self.name, self._member.worker, partitions)
        async for number, store in open_restored(
            self._settings, self._stage.changelog, paths, report, rescue
        ):
            self._stores.append(store)
            yield number, store

    def _changelog(self, number: int) -> TopicPartition | None:
        changelog = self._stage.changelog
        return TopicPartition(self._settings.topic(changelog), number) if changelog is not None else None

    def _let_go(self) -> None:
        for tp, partition in self._partitions.items():
            partition.object.close()
            self._metrics.revoked(self.name, tp.partition)
        self._metrics.serves(self.name, ())
        self._partitions.clear()
        self._positions.clear()
        self._found.clear()
        for store in self._stores:
            store.close()
        self._stores.clear()


def _after(record: Received) -> OffsetAndMetadata:
    return committed(record.offset + 1)


def _size(batch: Batch) -> int:
    return sum(map(len, batch.values()))
