"""Publishes beside the commits what may be lost: counts of outcomes, and what models write.

    tell ─▶ a queue of bounded length ─▶ one write at a time, of all that has gathered meanwhile

Nobody waits for it. While Kafka can't be reached the oldest leave the queue, and whoever tells goes on.
"""

import asyncio
import contextlib
import logging
from collections import deque

from aiokafka.errors import KafkaError
from aiokafka.structs import TopicPartition
from mode import Service

from segue.streams.kafka.broker_clock import now_ms
from segue.streams.kafka.partitioner import partition_of
from segue.streams.kafka.producer import Producer
from segue.streams.kafka.record_batches import Outgoing
from segue.streams.security.encryption import enveloped, keys_of
from segue.streams.settings import Settings
from segue.topics.records import Record

log = logging.getLogger(__name__)

QUEUED_MAX = 2_000
"""Records: counts of 200 bytes, or what a model writes in a quarter of a second."""

AGAIN_S_MIN, AGAIN_S_MAX = 1.0, 30.0


class BestEffortProducer(Service):
    """`tell` at any time; what is told before `start`, or after `stop`, waits or is lost."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._keys = keys_of(settings)
        self._queue: deque[Outgoing] = deque(maxlen=QUEUED_MAX)
        self._told = asyncio.Event()
        self._writing: asyncio.Task[None] | None = None
        super().__init__()  # pyright: ignore[reportUnknownMemberType] # mode annotates in part

    def tell(self, topic: str, key: str, record: Record, tenant: str | None = None) -> None:
        """Where there are keys, text is sealed; counts say nothing of any task, and stay clear."""
        name = key.encode()
        to = TopicPartition(self._settings.topic(topic), partition_of(name, self._settings.partitions))
        keys = self._keys if topic == "tokens" else None
        self._queue.append(Outgoing(to, name, *enveloped(keys, topic, name, record, tenant)))
        self._told.set()

    async def on_start(self) -> None:
        self._writing = asyncio.create_task(self._write_for_ever(), name="best effort producer")

    async def on_stop(self) -> None:
        if self._writing is not None:
            self._writing.cancel()
            await asyncio.wait([self._writing])

    async def _write_for_ever(self) -> None:
        """A producer that failed is replaced, after a wait that doubles."""
        again_s = AGAIN_S_MIN
        while True:
            await self._told.wait()
            producer = Producer(self._settings)
            try:
                await producer.start()
                while True:
                    await self._write(producer)
                    again_s = AGAIN_S_MIN
            except Exception as error:  # noqa: BLE001 - whatever it is, another producer may do
                log.warning(
                    "call statistics and tokens can't be published: %s; the calls themselves go on", error
                )
            finally:
                with contextlib.suppress(KafkaError, OSError):
                    await producer.close()
            await asyncio.sleep(again_s)
            again_s = min(again_s * 2, AGAIN_S_MAX)

    async def _write(self, producer: Producer) -> None:
        await self._told.wait()
        self._told.clear()
        records = list(self._queue)
        self._queue.clear()
        await producer.write(records, now_ms())
