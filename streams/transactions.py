"""Publishing with the offsets of what caused it: all of it or nothing (`Transactions`), or at least once.

    begin ─▶ batches out ─▶ the group's offsets, fenced by its generation ─▶ commit

A transaction that fails is not retried here and not aborted by hand: the stage is started anew, and its new
producer takes the same transactional id, at which the broker aborts whatever the old one had open. A crash
and an error thus take the same path. aiokafka's own abort would not do: after an error it forgets that the
transaction has partitions and ends it only on its own side.

`Sender` is the part of aiokafka's producer that speaks to the transaction coordinator. Ours differs in two
points: offsets are committed under the consumer's generation (see `protocol`), and it asks again after 2 ms,
not 20 to 100, when the coordinator is still writing the markers of the transaction before.
"""

# aiokafka is annotated only in part.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# pyright: reportPrivateUsage=false
# mypy: disable-error-code="no-untyped-call"

import asyncio
import contextlib
import logging
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple, Protocol, cast

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.client import CoordinationType
from aiokafka.errors import GroupAuthorizationFailedError, KafkaError
from aiokafka.producer.message_accumulator import BatchBuilder
from aiokafka.producer.sender import (
    AddOffsetsToTxnHandler,
    AddPartitionsToTxnHandler,
    Sender,
    TxnOffsetCommitHandler,
)
from aiokafka.structs import OffsetAndMetadata, TopicPartition

from streams.protocol import REPLACED, Membership, TxnOffsetCommitRequest
from streams.settings import Settings

log = logging.getLogger(__name__)

TRANSACTION_TIMEOUT_MS = 10_000
"""A transaction of a worker that died stops all readers behind it for at most so long."""

BATCH_BYTES_MAX = 500_000
"""Kafka's limit of 1 MB is on a whole batch; a single larger record still gets a batch of its own."""

CONCURRENT_BACKOFF_S = 0.002
"""The markers of the transaction before are usually written within a millisecond or two."""

STOP_S_MAX = 5.0
"""A producer that can't reach its broker is given up after so long."""

CONCURRENT_TRANSACTIONS = 51

Offsets = Mapping[TopicPartition, OffsetAndMetadata]
Ends = dict[TopicPartition, int]
"""For each partition that was written: the offset after the last record."""


class Replaced(KafkaError):
    """The group has given this member's partitions to another: nothing of the transaction counts."""


class Outgoing(NamedTuple):
    """A record in bytes, bound for one partition of a topic by its name on the cluster."""

    to: TopicPartition
    key: bytes | None
    value: bytes | None
    headers: list[tuple[str, bytes]]
    is_state: bool = False
    """On a changelog."""


class Committer(Protocol):
    """Publishes `records` and commits `offsets`, in the way that the guarantee asks for."""

    async def start(self) -> None: ...

    async def stop(self) -> None: ...

    async def commit(
        self, records: Iterable[Outgoing], offsets: Offsets, membership: Membership, now_ms: int
    ) -> Ends: ...


class Transactions:
    """Exactly once: records, changelog and offsets are one Kafka transaction."""

    def __init__(self, settings: Settings, transactional_id: str) -> None:
        self._producer = AIOKafkaProducer(
            **settings.client_options(),
            transactional_id=transactional_id,
            transaction_timeout_ms=TRANSACTION_TIMEOUT_MS,
            max_batch_size=BATCH_BYTES_MAX,
            linger_ms=0,
        )
        self._sender = _FencingSender.replacing(self._producer)

    async def start(self) -> None:
        await self._producer.start()

    async def stop(self) -> None:
        await _stop(self._producer)

    async def commit(
        self, records: Iterable[Outgoing], offsets: Offsets, membership: Membership, now_ms: int
    ) -> Ends:
        self._sender.membership = membership
        await self._producer.begin_transaction()
        self._sender.end_of_transaction().add_done_callback(_retrieved)
        ends = await _acknowledged(await _send(self._producer, records, now_ms))
        if offsets:
            await self._producer.send_offsets_to_transaction(dict(offsets), membership.group)
        await self._producer.commit_transaction()
        return ends


def _retrieved(ended: "asyncio.Future[None]") -> None:
    """What ends a transaction is raised to us by what failed: asyncio must not report that nobody asked."""
    if not ended.cancelled():
        ended.exception()


class Acknowledgements:
    """At least once: records are acknowledged, then the changelog, then offsets are committed.

    State on the changelog says that its event has happened: were it there without the records that the event
    asked for, a redelivery would be recognised, and nobody would ever ask again.
    """

    def __init__(self, settings: Settings, consumer: AIOKafkaConsumer) -> None:
        self._consumer = consumer
        self._producer = AIOKafkaProducer(
            **settings.client_options(), enable_idempotence=True, max_batch_size=BATCH_BYTES_MAX, linger_ms=0
        )

    async def start(self) -> None:
        await self._producer.start()

    async def stop(self) -> None:
        await _stop(self._producer)

    async def commit(
        self, records: Iterable[Outgoing], offsets: Offsets, membership: Membership, now_ms: int
    ) -> Ends:
        state, outputs = _parted(records)
        ends = await _acknowledged(await _send(self._producer, outputs, now_ms))
        if state:
            ends |= await _acknowledged(await _send(self._producer, state, now_ms))
        if offsets:
            await self._consumer.commit(dict(offsets))
        return ends


def _parted(records: Iterable[Outgoing]) -> tuple[list[Outgoing], list[Outgoing]]:
    """State, and all else."""
    state: list[Outgoing] = []
    outputs: list[Outgoing] = []
    for record in records:
        (state if record.is_state else outputs).append(record)
    return state, outputs


def committer(settings: Settings, consumer: AIOKafkaConsumer, stage: str, worker: str) -> Committer:
    """The committer of a stage on this worker, by the guarantee that is set."""
    if settings.guarantee == "exactly_once":
        return Transactions(settings, f"{settings.prefix}segue-{stage}-{worker}")
    return Acknowledgements(settings, consumer)


# ---------------------------------------------------------------- batches

Sent = list[tuple[TopicPartition, int, "asyncio.Future[Any]"]]


async def _send(producer: AIOKafkaProducer, records: Iterable[Outgoing], now_ms: int) -> Sent:
    """Whole batches, one future each: a future for each record would cost more than the record."""
    batches: dict[TopicPartition, list[BatchBuilder]] = {}
    for record in records:
        filled = batches.setdefault(record.to, [])
        if not filled or not _append(filled[-1], record, now_ms):
            filled.append(producer.create_batch())
            _append(filled[-1], record, now_ms)
    sent: Sent = []
    for to, filled in batches.items():
        for batch in filled:
            future = await producer.send_batch(batch, to.topic, partition=to.partition)
            sent.append((to, batch.record_count(), future))
    return sent


def _append(batch: BatchBuilder, record: Outgoing, now_ms: int) -> bool:
    """False when the batch is full; an empty one takes a record of any size."""
    metadata = batch.append(timestamp=now_ms, key=record.key, value=record.value, headers=record.headers)
    return metadata is not None


async def _acknowledged(sent: Sent) -> Ends:
    """Waits for all, then raises the first error: aiokafka would commit without a batch that failed."""
    results = await asyncio.gather(*(future for _, _, future in sent), return_exceptions=True)
    for result in results:
        if isinstance(result, BaseException):
            raise result
    metadata = cast("list[Any]", results)
    return {to: known.offset + count for (to, count, _), known in zip(sent, metadata, strict=True)}


async def _stop(producer: AIOKafkaProducer) -> None:
    with contextlib.suppress(TimeoutError, KafkaError):
        async with asyncio.timeout(STOP_S_MAX):
            await producer.stop()
            return
    log.warning("a producer could not say goodbye to its broker within %g s; going on without", STOP_S_MAX)
    await producer.client.close()


# ---------------------------------------------------------------- aiokafka's sender, with two differences


class _FencingSender(Sender):
    membership: Membership

    @classmethod
    def replacing(cls, producer: AIOKafkaProducer) -> "_FencingSender":
        """Puts itself in the place of the producer's own sender, before that has started."""
        theirs: Any = producer._sender
        ours = cls(
            theirs.client,
            acks=theirs._acks,
            txn_manager=theirs._txn_manager,
            message_accumulator=theirs._message_accumulator,
            retry_backoff_ms=theirs._retry_backoff * 1000,
            request_timeout_ms=theirs._request_timeout_ms,
        )
        producer._sender = ours
        return ours

    def end_of_transaction(self) -> "asyncio.Future[None]":
        return cast("asyncio.Future[None]", self._txn_manager.wait_for_transaction_end())

    async def _do_add_partitions_to_txn(self, tps: Any) -> Any:
        return await _AddPartitions(self, tps).do(await self._transaction_coordinator())

    async def _do_add_offsets_to_txn(self, group_id: str) -> Any:
        return await _AddOffsets(self, group_id).do(await self._transaction_coordinator())

    async def _do_txn_offset_commit(self, offsets: Any, group_id: str) -> None:
        try:
            node = await self._find_coordinator(CoordinationType.GROUP, group_id)
        except GroupAuthorizationFailedError as error:
            self._txn_manager.error_transaction(error)
            return
        await _CommitOffsets(self, offsets, group_id).do(node)

    async def _transaction_coordinator(self) -> Any:
        return await self._find_coordinator(CoordinationType.TRANSACTION, self._txn_manager.transactional_id)


class _AddPartitions(AddPartitionsToTxnHandler):
    def handle_response(self, resp: Any) -> float | None:
        concurrent = any(
            code == CONCURRENT_TRANSACTIONS for _, partitions in resp.errors for _, code in partitions
        )
        backoff_s = super().handle_response(resp)
        return CONCURRENT_BACKOFF_S if concurrent else backoff_s


class _AddOffsets(AddOffsetsToTxnHandler):
    def handle_response(self, resp: Any) -> float | None:
        backoff_s = super().handle_response(resp)
        return CONCURRENT_BACKOFF_S if resp.error_code == CONCURRENT_TRANSACTIONS else backoff_s


class _VersionZero(NamedTuple):
    """A response in the shape that aiokafka's own handler reads."""

    errors: list[tuple[str, list[tuple[int, int]]]]


class _CommitOffsets(TxnOffsetCommitHandler):
    def create_request(self) -> Any:
        manager = self._sender._txn_manager
        return TxnOffsetCommitRequest(
            manager.transactional_id,
            (manager.producer_id, manager.producer_epoch),
            self._sender.membership,
            self._offsets,
        )

    def handle_response(self, resp: Any) -> float | None:
        errors = [(topic, [(number, code) for number, code, _ in rows]) for topic, rows, _ in resp.topics]
        if any(code in REPLACED for _, rows in errors for _, code in rows):
            membership = self._sender.membership
            self._sender._txn_manager.error_transaction(
                Replaced(f"generation {membership.generation} of group {membership.group} is over")
            )
            return None
        backoff_s: float | None = super().handle_response(_VersionZero(errors))
        return backoff_s
