"""Runs an effect stage: many calls in flight, finishing out of order, each answered exactly once.

    poll ─▶ start a call for each record ─▶ … ─▶ finished calls wait together
                                                       └▶ publish: one commit of all that finished,
                                                          with how far each partition is (`progress`)

Polling never waits for a call, so calls may take minutes. Publishing begins as soon as the commit before it
is done: when little happens a result waits for nothing, and when much happens commits grow.

Calls outlive what they were read by. When the group rebalances, or Kafka fails and the stage is started anew,
a call goes on; its record, delivered again, finds it by its id, running or already answered. Only calls of
partitions that went to another worker are cancelled: that worker makes them again.
"""

import asyncio
import contextlib
import logging
import time
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial

from aiokafka.errors import OffsetMetadataTooLargeError
from aiokafka.structs import TopicPartition

from segue.processors.stages.put_aside import put_aside
from segue.streams.calls.calls import Calls, Job
from segue.streams.calls.throttle import CallThrottle
from segue.streams.engine.call_offsets import CallOffsets
from segue.streams.engine.losses import told
from segue.streams.engine.outbox import Outbox
from segue.streams.kafka.broker_clock import now_ms
from segue.streams.kafka.committer import Committer
from segue.streams.kafka.consumer_group import Batch, Group, session
from segue.streams.kafka.positions import Committed, Loss
from segue.streams.kafka.producer import Offsets
from segue.streams.kafka.static_member import static_member
from segue.streams.observability.failure_log import FailureLog
from segue.streams.observability.metrics import Metrics
from segue.streams.process.recent_names import RecentNames
from segue.streams.process.user_code import raise_if_ours
from segue.streams.settings import Settings
from segue.streams.text.redaction import redact
from segue.topics import contracts
from segue.topics.errors import BadRecord, in_words
from segue.topics.flow import Decision, Received

log = logging.getLogger(__name__)

POLL_MS_MAX = 500
LAG_EVERY_S = 5.0

RELEASE_GRACE_S = 1.0
"""When the group rebalances: most calls of tools end within this, and all other workers wait for it."""

DRAIN_S = 10.0
"""When the worker stops: calls that take longer are cancelled, and made again by whoever takes over."""

PUBLISH_S_MAX = 10.0
"""A commit that takes longer has lost its transaction anyway."""

OWNED_POLL_S = 0.05

WAITING_MAX = 10_000
"""Calls that wait for the limits of their candidates; each holds its record in memory."""

REMEMBERED_MAX = 10_000
"""Ids of calls that were answered here: a command that was published twice comes soon after the first."""

REMEMBERED_S = 60 * 60
"""A command that comes later is made again: its outcome may be lost, or its task's id be used anew."""


@dataclass(frozen=True)
class EffectStage:
    """`in_flight_max` calls run at once in a worker; what comes after them waits on its topic."""

    name: str
    calls: Calls
    in_flight_max: int
    throttle: CallThrottle | None = None

    @property
    def topics(self) -> list[str]:
        return [topic.name for topic in contracts.ALL if self.name in topic.read_by]


@dataclass(eq=False)
class Begun:
    """A record that was begun to be handled: where it was delivered, and what came of it."""

    at: TopicPartition
    record: Received
    job: Job | None = None
    """None: nothing is called for it (it can't be read, or asks for what another record asked for)."""
    decision: Decision | None = None
    delivered: bool = True
    """In the present session. If not, it waits to be delivered again."""
    waits: bool = False
    """Until its partition is surely this worker's: the call was not begun."""
    task: "asyncio.Task[None] | None" = None


class EffectRunner:
    """One stage on this worker: `run` until `stop`, or until Kafka or a bug ends it; then `run` again."""

    def __init__(self, stage: EffectStage, settings: Settings, worker: str, metrics: Metrics) -> None:
        self.name = stage.name
        self._stage = stage
        self._settings = settings
        self._member = static_member(settings, stage.name, worker)
        self._metrics = metrics
        self._failures = FailureLog(sealed=settings.encryption_keys is not None)
        self._group: Group | None = None
        self._offsets = CallOffsets(stage.name, metrics)
        self._calls: dict[str, Begun] = {}
        self._running = self._delivered = 0
        self._finished: list[Begun] = []
        self._answered = RecentNames(REMEMBERED_MAX, REMEMBERED_S)
        self._some_finished = asyncio.Event()
        self._room = asyncio.Event()
        self._published = asyncio.Event()
        """Set while nothing that finished waits to be published."""
        self._published.set()
        self._stopping = False
        self._lag_due_s = 0.0

    @property
    def ready(self) -> bool:
        """All partitions that the group gave to this worker are served."""
        return self._group is not None and self._group.ready.is_set()

    async def open(self) -> None:
        self._metrics.in_flight(self.name, lambda: self._running)
        await self._stage.calls.executor.start()

    async def run(self) -> None:
        async with session(self._settings, self.name, self._member, self._stage.topics, self) as seat:
            self._group, commits = seat
            try:
                async with asyncio.TaskGroup() as loops:
                    publishing = loops.create_task(self._publish_all(self._group, commits))
                    await self._poll(self._group)
                    await self._settle(DRAIN_S)
                    publishing.cancel()
            finally:
                self._suspend()

    async def stop(self) -> None:
        """`run` returns when the calls in flight have ended, or were given `DRAIN_S` to."""
        self._stopping = True

    async def close(self) -> None:
        for call in list(self._calls.values()):
            self._forget(call)
        await self._stage.calls.executor.stop()

    # ------------------------------------------------------------ records in

    async def _poll(self, group: Group) -> None:
        while not self._stopping:
            if (room := self._room_left()) <= 0:
                await self._wait_for_room()
                await group.ensure_held()
                continue
            batch = await group.poll(POLL_MS_MAX, room)
            for loss in group.positions.take_losses(self._offsets.progress):
                self._tell_of(loss)
            self._receive(group, batch)
            await self._report_lag(group)

    def _room_left(self) -> int:
        """A call that waits for its record takes none: only when that is read again can it be published."""
        return self._stage.in_flight_max + self._waiting() - self._delivered - len(self._finished)

    def _waiting(self) -> int:
        """Calls that wait for their limits are not in flight, but each holds its record in memory."""
        throttle = self._stage.throttle
        return 0 if throttle is None else min(throttle.waiting, WAITING_MAX)

    async def _wait_for_room(self) -> None:
        """The consumer heartbeats by itself meanwhile; what it has fetched waits in its buffer."""
        self._room.clear()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(POLL_MS_MAX / 1000):
                await self._room.wait()

    def _receive(self, group: Group, batch: Batch) -> None:
        for tp, records in batch.items():
            if (progress := self._offsets.progress.get(tp)) is None:
                continue  # revoked since it was fetched
            for record in records:
                if not self._offsets.has_room(group, tp, record.offset):
                    break
                if progress.deliver(record.offset):
                    self._begin(tp, record)

    def _tell_of(self, loss: Loss) -> None:
        """With the commit that goes on behind what was lost."""
        self._offsets.progress[loss.at].pass_over(loss.end)
        record = Received(loss.topic, loss.at.partition, loss.start, None, None, (), loss.before_ms)
        self._finish(Begun(loss.at, record, decision=told(loss, self.name, self._metrics, now_ms())))

    def _begin(self, tp: TopicPartition, record: Received) -> None:
        call = Begun(tp, record)
        try:
            job = self._stage.calls.job(record, partial(self._owned, call))
        except BadRecord as bad:
            self._finish(Begun(tp, record, decision=put_aside(record, self.name, str(bad), now_ms())))
            return
        except Exception as bug:
            log.exception("stage %s can't begin with a record of %s: it is put aside", self.name, tp.topic)
            self._finish(Begun(tp, record, decision=self._put_aside(record, bug)))
            return
        running = self._calls.get(job.id)
        if running is not None and running.at == tp and running.record.offset == record.offset:
            self._resume(running)
        elif running is not None or job.id in self._answered:
            self._finish(Begun(tp, record, decision=Decision()))
        else:
            call.job, self._calls[job.id] = job, call
            self._delivered += 1
            call.task = asyncio.create_task(self._call(call, job))

    def _resume(self, call: Begun) -> None:
        self._delivered += not call.delivered
        call.delivered = True
        if call.decision is not None:
            self._finish(call)

    # ------------------------------------------------------------ calls

    async def _call(self, call: Begun, job: Job) -> None:
        self._running += 1
        try:
            call.decision = await job.perform()
        except BaseException as bug:
            raise_if_ours(bug)
            log.exception("stage %s failed on %s: it is put aside, the stage goes on", self.name, job.id)
            call.decision = self._put_aside(call.record, bug)
        finally:
            self._running -= 1
        if call.delivered:
            self._finish(call)

    def _put_aside(self, record: Received, bug: BaseException) -> Decision:
        return put_aside(record, self.name, redact(in_words(bug)), now_ms())

    async def _owned(self, call: Begun) -> None:
        """Returns when the call may be made. It is forgotten if its partition has gone to another worker."""
        call.waits = True
        while not (call.delivered and await self._holds()):  # noqa: ASYNC110 - as rebalances have it
            await asyncio.sleep(OWNED_POLL_S)
        call.waits = False

    async def _holds(self) -> bool:
        group = self._group
        assert group is not None
        await group.until_held()
        return group is self._group and group.ready.is_set()

    def _finish(self, begun: Begun) -> None:
        self._finished.append(begun)
        self._published.clear()
        self._some_finished.set()

    def _forget(self, call: Begun) -> None:
        assert call.job is not None
        assert call.task is not None
        call.task.cancel()
        self._pop(call.job.id)

    def _pop(self, id_: str) -> None:
        if (call := self._calls.pop(id_, None)) is not None:
            self._delivered -= call.delivered

    # ------------------------------------------------------------ decisions out

    async def _publish_all(self, group: Group, commits: Committer) -> None:
        while True:
            await self._some_finished.wait()
            self._some_finished.clear()
            offsets = self._offsets.finished((each.at, each.record.offset) for each in self._finished)
            if offsets is None:
                continue
            finished, self._finished = self._finished, []
            await self._publish(group, commits, finished, offsets)
            self._count_published(finished)
            self._offsets.committed(group)
            self._room.set()
            if not self._finished:
                self._published.set()

    async def _publish(
        self, group: Group, commits: Committer, finished: list[Begun], offsets: Offsets
    ) -> None:
        started_s, at_ms = time.perf_counter(), now_ms()
        await group.ensure_held()
        outbox = Outbox(self._settings)
        for begun in finished:
            assert begun.decision is not None
            instead = begun.job.instead if begun.job is not None else None
            outbox.add_outcome(begun.decision, begun.record, instead, self.name, at_ms, put_aside)
        try:
            await commits.commit(outbox.records, offsets, group.membership, at_ms)
        except OffsetMetadataTooLargeError:
            self._offsets.refused(offsets)
            raise
        self._metrics.published(self.name, outbox.published)
        self._failures.published(self.name, outbox.published)
        self._metrics.batch(self.name, len(finished), time.perf_counter() - started_s)

    def _count_published(self, finished: list[Begun]) -> None:
        for begun in finished:
            if begun.job is not None:
                self._pop(begun.job.id)
                self._answered.add(begun.job.id)

    # ------------------------------------------------------------ partitions: `group.Owner`

    async def take(self, partitions: Mapping[TopicPartition, Committed]) -> None:
        assert self._group is not None
        starts = await self._group.positions.starts(partitions, stateless=True)
        await self._offsets.take(self._group, partitions, starts)
        for call in list(self._calls.values()):
            progress = self._offsets.progress.get(call.at)
            if progress is None or progress.done(call.record.offset):
                self._forget(call)
        self._room.set()
        if self._stage.throttle is not None:
            self._stage.throttle.own({tp.partition for tp in partitions})
        for tp, offset in starts.items():
            self._group.serve(tp, offset)

    async def release(self) -> None:
        await self._settle(RELEASE_GRACE_S)
        self._suspend()

    async def _settle(self, grace_s: float) -> None:
        """Waits for calls in flight, not longer than `grace_s`, and until what finished is published."""
        tasks = [call.task for call in self._calls.values() if call.task is not None and not call.waits]
        if (throttle := self._stage.throttle) is not None:
            throttle.own(())
            tasks = [task for task in tasks if not throttle.is_waiting(task)]
        if tasks:
            await asyncio.wait(tasks, timeout=grace_s)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(PUBLISH_S_MAX):
                await self._published.wait()

    def _suspend(self) -> None:
        """Calls go on; what comes of them waits until their records are delivered again."""
        for call in self._calls.values():
            call.delivered = False
        self._delivered = 0
        self._finished.clear()
        self._some_finished.clear()
        self._published.set()
        for tp in self._offsets.progress:
            self._metrics.revoked(self.name, tp.partition)
        self._metrics.serves(self.name, ())
        self._offsets.clear()

    async def _report_lag(self, group: Group) -> None:
        if time.monotonic() < self._lag_due_s:
            return
        self._lag_due_s = time.monotonic() + LAG_EVERY_S
        in_hand = {tp: progress.unfinished for tp, progress in self._offsets.progress.items()}
        for topic, number, records in await group.lags(in_hand):
            self._metrics.lag(self.name, topic, number, records)
        self._metrics.serves(self.name, {tp.partition for tp in self._offsets.progress})
