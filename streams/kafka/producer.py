"""Writes batches of records: as they come (`write`), or with a group's offsets as one transaction.

    start ─▶ an id and epoch for each identity; what a predecessor left open is aborted
    transact: batches ─▶ the group's offsets, fenced by its generation ─▶ commit

aiokafka's connections under a loop of our own: its producer sends from a task beside, with a queue and a
future for each batch, speaks only the older transactions, and after an error forgets what it wrote to. What
brokers ask to try again (a leader that moves, a coordinator that starts) is tried again under the numbers of
the first try, so that nothing is written twice. Any other error ends the stage, which is started anew and
takes its identities again: a crash and an error take the same path.

*Two identities take turns.* After a commit the brokers still write its markers, and the next transaction of
the same identity waits for them; that of the other begins at once. A commit is acknowledged before the next
one begins, so offsets never overtake each other.
"""

# aiokafka is annotated only in part.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false

import asyncio
import time
from collections import deque
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable, Mapping
from contextlib import asynccontextmanager
from typing import Any, ParamSpec, TypeVar

from aiokafka.client import AIOKafkaClient, ConnectionGroup, CoordinationType
from aiokafka.errors import (
    ConcurrentTransactions,
    KafkaError,
    LeaderNotAvailableError,
    RequestTimedOutError,
    for_code,
)
from aiokafka.protocol.api import Request
from aiokafka.protocol.transaction import (
    AddOffsetsToTxnRequest,
    AddPartitionsToTxnRequest,
    InitProducerIdRequest,
)
from aiokafka.structs import OffsetAndMetadata, TopicPartition

from segue.streams.kafka import protocol
from segue.streams.kafka.broker_clock import CLOCK
from segue.streams.kafka.protocol import REPLACED, Membership, Replaced
from segue.streams.kafka.record_batches import Batch, Identity, Outgoing
from segue.streams.settings import Settings

REQUEST_TIMEOUT_MS = 10_000
GIVE_UP_S = 10.0
"""By then the coordinator has most likely ended the transaction."""

WHOLE_S_MAX = 2 * GIVE_UP_S
"""For all requests of a commit, or of a start: whatever aiokafka may wait for, a stage must go on."""

RETRY_S = 0.002
"""About what the markers of a transaction take. It doubles with each try, for a leader that moves."""

RETRY_S_MAX = 0.25

IDENTITIES = 2

NOT_THE_COORDINATOR = frozenset({15, 16})
"""Codes that say: ask who it is now."""

UNAUTHORIZED = frozenset({29, 30, 53})
"""Codes that say: no right to this topic, group or transactional id."""

Offsets = Mapping[TopicPartition, OffsetAndMetadata]
Ends = dict[TopicPartition, int]
"""For each partition that was written: the offset after the last record."""

P = ParamSpec("P")
T = TypeVar("T")


class Producer:
    """One call at a time: the next when the one before has returned."""

    def __init__(
        self, settings: Settings, transactional_id: str | None = None, *, whole_s: float | None = None
    ) -> None:
        """`whole_s`: how long a transaction may take; if not given, as long as a worker may be silent."""
        self._client: Any = AIOKafkaClient(**settings.client_options(), request_timeout_ms=REQUEST_TIMEOUT_MS)
        self._whole_s = whole_s or WHOLE_S_MAX
        self._timeout_ms = round(whole_s * 1000) if whole_s else settings.session_timeout_ms
        """A worker that died stops the readers behind its transaction no longer than its seats are kept."""
        count = IDENTITIES if transactional_id is not None else 1
        self._identities = deque(
            Identity(transactional_id and f"{transactional_id}-{number}") for number in range(count)
        )
        self._coordinators: dict[tuple[int, str], Any] = {}
        self._topics: set[str] = set()
        self._joins = False
        """Writing makes a partition part of the transaction, as version 2 of transactions has it."""

    async def start(self) -> None:
        async with _bounded("start", self._whole_s):
            await self._start()

    async def _start(self) -> None:
        await self._client.bootstrap()
        answer = await self._ask(self._client.get_random_node(), protocol.api_versions())
        self._joins = self._identities[0].transactional_id is not None and protocol.joins(answer)
        for identity in self._identities:
            await _retried(self._introduce, identity)

    async def close(self) -> None:
        await self._client.close()

    async def write(self, records: Iterable[Outgoing], now_ms: int) -> Ends:
        """Returns when all in-sync replicas have them all."""
        identity = self._identities[0]
        async with _bounded("write", self._whole_s):
            return await self._write(identity, identity.batches(records, now_ms))

    async def transact(
        self, records: Iterable[Outgoing], offsets: Offsets, membership: Membership, now_ms: int
    ) -> Ends:
        """Returns when the transaction is committed. Of one that raises nobody knows how it ended."""
        identity = self._identities[0]
        batches = identity.batches(records, now_ms)
        if not batches and not offsets:
            return {}
        self._identities.rotate()
        async with _bounded("commit", self._whole_s):
            if not self._joins:
                await self._announce(identity, batches, membership.group if offsets else None)
            ends = await self._write(identity, batches)
            if offsets:
                await _retried(self._commit_offsets, identity, offsets, membership)
            await _retried(self._end, identity)
        return ends

    # ------------------------------------------------------------ records

    async def _write(self, identity: Identity, batches: Mapping[TopicPartition, list[Batch]]) -> Ends:
        """A request takes one batch for each partition: what has more of them takes several."""
        await self._know({tp.topic for tp in batches})
        ends: Ends = {}
        for turn in range(max(map(len, batches.values()), default=0)):
            sent_ms = CLOCK.counted_ms()
            left = {tp: filled[turn] for tp, filled in batches.items() if turn < len(filled)}
            await _retried(self._produce, identity, left, ends, sent_ms)
        return ends

    async def _know(self, topics: set[str]) -> None:
        if not topics <= self._topics:
            self._topics |= topics
            await self._client.set_topics(self._topics)

    async def _produce(
        self, identity: Identity, left: dict[TopicPartition, Batch], ends: Ends, sent_ms: int
    ) -> None:
        """Takes from `left` what is acknowledged. Raises an error of what is not, a final one if there is."""
        leaders: dict[Any, dict[TopicPartition, bytes]] = {}
        for tp, batch in left.items():
            leaders.setdefault(self._client.cluster.leader_for_partition(tp), {})[tp] = batch.records
        answers = await asyncio.gather(
            *(self._produce_to(node, identity, batches) for node, batches in leaders.items()),
            return_exceptions=True,
        )
        errors = [answer for answer in answers if isinstance(answer, BaseException)]
        for written in (each for answer in answers if isinstance(answer, list) for each in answer):
            if written.code == 0:
                ends[written.to] = written.offset + left.pop(written.to).size
                if written.stamp_ms >= 0:
                    CLOCK.synchronize(written.stamp_ms, sent_ms)
            else:
                errors.append(_error(written.code, "write to", written.to.topic))
        if errors:
            self._client.force_metadata_update()
            raise min(errors, key=_may_go_through)

    async def _produce_to(
        self, node: Any, identity: Identity, batches: Mapping[TopicPartition, bytes]
    ) -> list[protocol.Written]:
        if node is None or node < 0:
            raise LeaderNotAvailableError(f"no leader for {', '.join(tp.topic for tp in batches)}")
        request = protocol.produce(identity.transactional_id, batches, REQUEST_TIMEOUT_MS, joins=self._joins)
        return list(protocol.produced(await self._ask(node, request)))

    # ------------------------------------------------------------ transactions

    async def _introduce(self, identity: Identity) -> None:
        """Takes the identity from whoever had it before; what that one left open is aborted."""
        name = identity.transactional_id
        request = InitProducerIdRequest(name, self._timeout_ms)  # type: ignore[arg-type]
        if name is None:
            answer = await self._ask(self._client.get_random_node(), request)
        else:
            answer = await self._ask_coordinator(CoordinationType.TRANSACTION, name, request)
        self._check({answer.error_code}, "write as", name or "anybody")
        identity.become(answer.producer_id, answer.producer_epoch)

    async def _announce(
        self, identity: Identity, partitions: Iterable[TopicPartition], group: str | None
    ) -> None:
        """Before version 2, what a transaction will write to is made part of it by requests of their own."""
        numbers = protocol.by_topic({tp: tp.partition for tp in partitions})
        if numbers:
            topics = [(topic, rows) for topic, rows, _ in numbers]
            await _retried(self._add_partitions, identity, topics)
        if group is not None:
            await _retried(self._add_group, identity, group)

    async def _add_partitions(self, identity: Identity, topics: list[tuple[str, list[int]]]) -> None:
        answer = await self._coordinate(identity, AddPartitionsToTxnRequest(*identity.who, topics))
        codes = {code for _, rows in answer.errors for _, code in rows}
        self._check(codes, "write in a transaction to", ", ".join(topic for topic, _ in topics))

    async def _add_group(self, identity: Identity, group: str) -> None:
        answer = await self._coordinate(identity, AddOffsetsToTxnRequest(*identity.who, group))
        self._check({answer.error_code}, "commit offsets in a transaction of", group)

    async def _commit_offsets(self, identity: Identity, offsets: Offsets, membership: Membership) -> None:
        request = protocol.txn_offset_commit(identity.who, membership, offsets, joins=self._joins)
        answer = await self._ask_coordinator(CoordinationType.GROUP, membership.group, request)
        codes = {code for _, rows, _ in answer.topics for _, code, _ in rows}
        if codes & REPLACED:
            raise Replaced(f"generation {membership.generation} of group {membership.group} is over")
        self._check(codes, "commit offsets of", membership.group)

    async def _end(self, identity: Identity) -> None:
        answer = await self._coordinate(
            identity, protocol.commit_transaction(identity.who, joins=self._joins)
        )
        self._check({answer.error_code}, "commit a transaction of", identity.who[0])
        if self._joins:
            identity.become(answer.producer_id, answer.producer_epoch)

    # ------------------------------------------------------------ requests

    async def _coordinate(self, identity: Identity, request: Request[Any]) -> Any:
        name, *_ = identity.who
        return await self._ask_coordinator(CoordinationType.TRANSACTION, name, request)

    async def _ask_coordinator(self, kind: int, name: str, request: Request[Any]) -> Any:
        try:
            if (kind, name) not in self._coordinators:
                self._coordinators[kind, name] = await self._client.coordinator_lookup(kind, name)
            return await self._ask(self._coordinators[kind, name], request, ConnectionGroup.COORDINATION)
        except KafkaError as error:
            self._coordinators.clear()
            code = getattr(error, "errno", None)
            if code in UNAUTHORIZED:
                raise _error(code, "find the coordinator of", name) from None
            raise

    async def _ask(self, node: Any, request: Request[Any], group: Any = ConnectionGroup.DEFAULT) -> Any:
        return await self._client.send(node, request, group=group)

    def _check(self, codes: set[int], what: str, name: str) -> None:
        if codes & NOT_THE_COORDINATOR:
            self._coordinators.clear()
        for code in codes - {0}:
            raise _error(code, what, name)


def _error(code: int, what: str, name: str) -> KafkaError:
    """A right that is missing is told by the name of what it is on, as aiokafka does."""
    kind: type[KafkaError] = for_code(code)
    return kind(name if code in UNAUTHORIZED else f"can't {what} {name} (Kafka's error {code})")


def _may_go_through(error: BaseException) -> bool:
    """If it is tried again."""
    return isinstance(error, ConcurrentTransactions) or (isinstance(error, KafkaError) and error.retriable)


@asynccontextmanager
async def _bounded(what: str, whole_s: float) -> AsyncGenerator[None]:
    try:
        async with asyncio.timeout(whole_s):
            yield
    except TimeoutError:
        raise RequestTimedOutError(
            f"could not {what} within {whole_s:g} s: Kafka did not answer in time"
        ) from None


async def _retried(attempt: Callable[P, Awaitable[T]], *args: P.args, **kwargs: P.kwargs) -> T:
    """Again and again while the brokers ask for it, up to `GIVE_UP_S`."""
    until_s, wait_s = time.monotonic() + GIVE_UP_S, RETRY_S
    while True:
        try:
            return await attempt(*args, **kwargs)
        except KafkaError as error:
            if not _may_go_through(error) or time.monotonic() + wait_s > until_s:
                raise
        await asyncio.sleep(wait_s)
        wait_s = min(wait_s * 2, RETRY_S_MAX)
