"""From records to the batches that brokers take: by partition, numbered, under a producer's identity.

Brokers tell by the numbers whether they have a batch already, so one that is sent again is not written twice.
"""

# aiokafka is annotated only in part.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false

from collections import defaultdict
from collections.abc import Iterable
from typing import Any, NamedTuple

from aiokafka.record.default_records import DefaultRecordBatchBuilder
from aiokafka.structs import TopicPartition

from segue.streams.kafka.protocol import Identified

BATCH_BYTES_MAX = 500_000
"""Kafka's limit of 1 MB is on a whole batch; a single larger record still gets a batch of its own."""

SEQUENCES = 2**31
"""Sequence numbers of a partition begin again after so many."""

RECORDS_V2 = 2
UNCOMPRESSED = 0


class Outgoing(NamedTuple):
    """A record in bytes, bound for one partition of a topic by its name on the cluster."""

    to: TopicPartition
    key: bytes | None
    value: bytes | None
    headers: list[tuple[str, bytes]]
    is_state: bool = False
    """On a changelog."""


class Batch(NamedTuple):
    records: bytes
    size: int
    """How many records it holds."""


class Identity:
    """What brokers know a producer by. Without a transactional id it only writes."""

    def __init__(self, transactional_id: str | None) -> None:
        self.transactional_id = transactional_id
        self.producer_id = -1
        self.epoch = -1
        self._written: dict[TopicPartition, int] = defaultdict(int)

    @property
    def who(self) -> Identified:
        return (self.transactional_id or "", self.producer_id, self.epoch)

    def become(self, producer_id: int, epoch: int) -> None:
        """Records are counted anew under each epoch."""
        if (producer_id, epoch) != (self.producer_id, self.epoch):
            self.producer_id, self.epoch = producer_id, epoch
            self._written.clear()

    def batches(self, records: Iterable[Outgoing], now_ms: int) -> dict[TopicPartition, list[Batch]]:
        """In the order of the records; where one is full another follows."""
        filled: dict[TopicPartition, list[Batch]] = defaultdict(list)
        filling: dict[TopicPartition, tuple[Any, int]] = {}
        for record in records:
            builder, count = filling.get(record.to) or (self._builder(record.to), 0)
            if not _append(builder, count, record, now_ms):
                filled[record.to].append(self._closed(record.to, builder, count))
                builder, count = self._builder(record.to), 0
                _append(builder, count, record, now_ms)
            filling[record.to] = builder, count + 1
        for to, (builder, count) in filling.items():
            filled[to].append(self._closed(to, builder, count))
        return filled

    def _builder(self, to: TopicPartition) -> Any:
        return DefaultRecordBatchBuilder(
            RECORDS_V2,
            UNCOMPRESSED,
            is_transactional=int(self.transactional_id is not None),
            producer_id=self.producer_id,
            producer_epoch=self.epoch,
            base_sequence=self._written[to] % SEQUENCES,
            batch_size=BATCH_BYTES_MAX,
        )

    def _closed(self, to: TopicPartition, builder: Any, count: int) -> Batch:
        self._written[to] += count
        return Batch(bytes(builder.build()), count)


def _append(builder: Any, number: int, record: Outgoing, now_ms: int) -> bool:
    """False when the batch is full; an empty one takes a record of any size."""
    added = builder.append(number, now_ms, key=record.key, value=record.value, headers=record.headers)
    return added is not None
