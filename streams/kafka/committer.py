"""Publishing with the offsets of what caused it: all of it or nothing (`Transactions`), or at least once.

A commit that fails is not tried again here and not undone by hand: the stage is started anew, and its new
producer takes the same transactional ids, at which the broker aborts whatever the old one had open.
"""

# aiokafka is annotated only in part.
# pyright: reportUnknownMemberType=false

import asyncio
import contextlib
import logging
from collections.abc import Iterable
from typing import Protocol

from aiokafka import AIOKafkaConsumer
from aiokafka.errors import KafkaError

from segue.streams.kafka.producer import Ends, Offsets, Producer
from segue.streams.kafka.protocol import Membership
from segue.streams.kafka.record_batches import Outgoing
from segue.streams.settings import Settings

log = logging.getLogger(__name__)

STOP_S_MAX = 5.0
"""A producer that can't reach its broker is given up after so long."""


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
        self._producer = Producer(settings, transactional_id)

    async def start(self) -> None:
        await self._producer.start()

    async def stop(self) -> None:
        await _stop(self._producer)

    async def commit(
        self, records: Iterable[Outgoing], offsets: Offsets, membership: Membership, now_ms: int
    ) -> Ends:
        return await self._producer.transact(records, offsets, membership, now_ms)


class Acknowledgements:
    """At least once: records are acknowledged, then the changelog, then offsets are committed.

    State on the changelog says that its event has happened: were it there without the records that the event
    asked for, a redelivery would be recognised, and nobody would ever ask again.
    """

    def __init__(self, settings: Settings, consumer: AIOKafkaConsumer) -> None:
        self._consumer = consumer
        self._producer = Producer(settings)

    async def start(self) -> None:
        await self._producer.start()

    async def stop(self) -> None:
        await _stop(self._producer)

    async def commit(
        self, records: Iterable[Outgoing], offsets: Offsets, membership: Membership, now_ms: int
    ) -> Ends:
        state, outputs = _parted(records)
        ends = await self._producer.write(outputs, now_ms)
        if state:
            ends |= await self._producer.write(state, now_ms)
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
        return Transactions(settings, f"{settings.topic_prefix}segue-{stage}-{worker}")
    return Acknowledgements(settings, consumer)


async def _stop(producer: Producer) -> None:
    with contextlib.suppress(TimeoutError, KafkaError):
        async with asyncio.timeout(STOP_S_MAX):
            await producer.close()
            return
    log.warning(
        "a producer did not close its connections within %g s: the worker goes on without waiting", STOP_S_MAX
    )
