"""What stands in for aiokafka's client: takes the requests that the product makes itself, and answers them.

A request is not sent in bytes, but read by the names of its fields, which are the protocol's. Batches of
records are bytes, as the product built them. As in Kafka, a batch's number is that of its first record: the
next batch of the same producer and epoch has the number after its last record, a batch that comes again under
its number is known, and any other number is refused.
"""

from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

from aiokafka.errors import IllegalGenerationError, UnknownMemberIdError
from aiokafka.record.memory_records import MemoryRecords
from aiokafka.structs import OffsetAndMetadata, TopicPartition

from segue.streams.kafka import protocol
from segue.streams.kafka.offsets.encoding import METADATA_BYTES_MAX
from tests.simulation.broker import BROKER, Broker, Entry, Producing
from tests.simulation.world import PROCESS, Process

NEW_TRANSACTIONS: list[tuple[str, int, int, dict[int, bytes]]] = [
    (protocol.TRANSACTION_FEATURE, 2, 2, protocol.NO_TAGS)
]

OUT_OF_ORDER = 45
INVALID_EPOCH = 47
INVALID_STATE = 48
CONCURRENT = 51
FENCED = 90

FIRST = 0
"""The number of the first batch under an epoch."""

Code = int


class Refusal(Exception):
    """Answered with an error code."""

    def __init__(self, code: Code) -> None:
        self.code = code


class Client:
    """`AIOKafkaClient`, of one broker that leads and coordinates everything."""

    def __init__(self, **_: Any) -> None:
        self._process = PROCESS.get()
        self._broker = BROKER[-1]
        self.cluster = SimpleNamespace(leader_for_partition=self.get_leader)

    async def bootstrap(self) -> None:
        await self._process.passes("connects")

    async def close(self) -> None:
        await self._process.passes("disconnects")

    async def set_topics(self, topics: Any) -> None: ...

    def force_metadata_update(self) -> None: ...

    def get_random_node(self) -> int:
        return 0

    def get_leader(self, tp: TopicPartition) -> int:
        return 0

    async def coordinator_lookup(self, kind: int, name: str) -> int:
        return 0

    async def send(self, node: int, request: Any, group: object = None) -> Any:
        asked = request.prepare(dict.fromkeys(ANSWERS, (0, 99)))
        answer, told = ANSWERS[asked.API_KEY]
        return await self._process.ask(told(asked), lambda: answer(self._broker, self._process, asked))


# ---------------------------------------------------------------- records


def _produce(broker: Broker, process: Process, asked: Any) -> Any:
    rows = [
        (topic, [(number, *_written(broker, process, TopicPartition(topic, number), asked, records))])
        for topic, partitions, *_ in asked.topics
        for number, records, *_ in partitions
    ]
    return SimpleNamespace(topics=rows)


def _written(
    broker: Broker, process: Process, tp: TopicPartition, asked: Any, records: bytes
) -> tuple[Code, int, int]:
    """The code, and the offset and stamp of the first record."""
    batch: Any = MemoryRecords(records).next_batch()
    log, producing = broker.logs[tp], broker.producing[batch.producer_id]
    name = (batch.producer_id, batch.producer_epoch, batch.base_sequence)
    try:
        transaction = None
        if asked.transactional_id is not None:
            transaction = _transaction(broker, producing, batch.producer_epoch, INVALID_EPOCH)
            _add(broker, transaction, tp)
    except Refusal as refusal:
        return refusal.code, -1, -1
    if name in log.written:
        return 0, (first := log.written[name]), log.entries[first].timestamp
    if batch.base_sequence != (expected := log.sequences.get(name[:2], FIRST)):
        wrote = f"{process.name} wrote to {tp.topic}/{tp.partition}"
        broker.on_wrong_number(f"{wrote} under number {batch.base_sequence}, instead of {expected}")
        return OUT_OF_ORDER, -1, -1
    log.written[name] = len(log.entries)
    for row in batch:
        headers = tuple(row.headers)
        log.append(Entry(process.name, row.key, row.value, headers, process.world.now_ms, transaction))
    log.sequences[name[:2]] = batch.base_sequence + len(log.entries) - log.written[name]
    return 0, log.written[name], process.world.now_ms


def _transaction(broker: Broker, producing: Producing, epoch: int, fenced: Code) -> Any:
    """The producer's open one, or a new one. Refuses who was fenced, and whose last one still ends."""
    if producing.epoch != epoch:
        raise Refusal(fenced)
    if producing.is_ending:
        raise Refusal(CONCURRENT)
    if producing.transaction is None or producing.transaction.state != "open":
        return broker.begin(producing)
    return producing.transaction


def _add(broker: Broker, transaction: Any, tp: TopicPartition) -> None:
    """Writing makes a partition part of the transaction, or it must have been made so before."""
    if tp in transaction.partitions:
        return
    if not broker.has_new_transactions:
        raise Refusal(INVALID_STATE)
    transaction.partitions.append(tp)


# ---------------------------------------------------------------- transactions


def _introduce(broker: Broker, process: Process, asked: Any) -> Any:
    producing = broker.introduce(asked.transactional_id)
    code = CONCURRENT if producing.is_ending else 0
    return SimpleNamespace(error_code=code, producer_id=producing.id, producer_epoch=producing.epoch)


def _add_partitions(broker: Broker, process: Process, asked: Any) -> Any:
    code = 0
    try:
        transaction = _transaction(broker, broker.producing[asked.producer_id], asked.producer_epoch, FENCED)
        transaction.partitions += [
            tp
            for topic, numbers in asked.topics
            for number in numbers
            if (tp := TopicPartition(topic, number)) not in transaction.partitions
        ]
    except Refusal as refusal:
        code = refusal.code
    rows = [(topic, [(number, code) for number in numbers]) for topic, numbers in asked.topics]
    return SimpleNamespace(errors=rows)


def _add_group(broker: Broker, process: Process, asked: Any) -> Any:
    try:
        _transaction(broker, broker.producing[asked.producer_id], asked.producer_epoch, FENCED)
    except Refusal as refusal:
        return SimpleNamespace(error_code=refusal.code)
    return SimpleNamespace(error_code=0)


def _commit_offsets(broker: Broker, process: Process, asked: Any) -> Any:
    group = broker.group(asked.group_id)
    offsets = dict(_offsets(asked))
    code = 0
    try:
        producing = broker.producing[asked.producer_id]
        transaction = _transaction(broker, producing, asked.producer_epoch, INVALID_EPOCH)
        _ensure_newest(group, asked.group_instance_id, asked.member_id)
        group.check(asked.member_id, asked.generation_id, in_transaction=True)
        group.pend(offsets, process, transaction)
    except Refusal as refusal:
        code = refusal.code
    except (UnknownMemberIdError, IllegalGenerationError) as error:
        code = error.errno
    return SimpleNamespace(topics=[(tp.topic, [(tp.partition, code, {})], {}) for tp in offsets])


def _end(broker: Broker, process: Process, asked: Any) -> Any:
    """With new transactions each has an epoch of its own. Who asks twice is answered twice."""
    producing = broker.producing[asked.producer_id]
    last = producing.transaction
    new = int(broker.has_new_transactions)
    code = 0
    if last is not None and last.state == "open" and producing.epoch == asked.producer_epoch:
        broker.end(last, "committed")
        producing.epoch += new
    elif last is None or last.state != "committed" or producing.epoch != asked.producer_epoch + new:
        code = FENCED
    return SimpleNamespace(error_code=code, producer_id=producing.id, producer_epoch=producing.epoch)


# ---------------------------------------------------------------- the rest


def _heartbeat(broker: Broker, process: Process, asked: Any) -> Any:
    group, code = broker.group(asked.group_id), 0
    try:
        _ensure_newest(group, asked.group_instance_id, asked.member_id)
        group.check(asked.member_id, asked.generation_id, in_transaction=False)
        code = protocol.REBALANCE_IN_PROGRESS if group.rebalancing else 0
        group.heard_s[asked.member_id] = broker.world.loop.now_s
    except Refusal as refusal:
        code = refusal.code
    except (UnknownMemberIdError, IllegalGenerationError) as error:
        code = error.errno
    return SimpleNamespace(error_code=code)


def _ensure_newest(group: Any, instance: str | None, member: str) -> None:
    """Another worker of the same name may have joined since."""
    if instance is not None and group.instances.get(instance, member) != member:
        raise Refusal(protocol.FENCED_INSTANCE_ID)


def _leave(broker: Broker, process: Process, asked: Any) -> Any:
    for member, *_ in asked.members:
        broker.group(asked.group_id).remove(member)
    return SimpleNamespace(error_code=0)


def _describe(broker: Broker, process: Process, asked: Any) -> Any:
    (name,) = asked.groups
    members = [
        (member, instance, "", "/simulated") for instance, member in broker.group(name).instances.items()
    ]
    return SimpleNamespace(groups=[(0, name, "", "", "", members)])


def _stable_offsets(broker: Broker, process: Process, asked: Any) -> Any:
    group = broker.group(asked.group_id)
    rows: list[Any] = []
    for topic, numbers, _ in asked.topics:
        for tp in (TopicPartition(topic, number) for number in numbers):
            at = group.offsets.get(tp, OffsetAndMetadata(-1, ""))
            code = protocol.UNSTABLE_OFFSET_COMMIT if group.pending[tp] and asked.require_stable else 0
            rows.append((topic, [(tp.partition, at.offset, -1, at.metadata, code, {})], {}))
    return SimpleNamespace(topics=rows, error_code=0)


def _versions(broker: Broker, process: Process, asked: Any) -> Any:
    encode = vars(protocol)["_FEATURES"].encode
    features = encode(NEW_TRANSACTIONS) if broker.has_new_transactions else None
    return SimpleNamespace(tags={protocol.FINALIZED_FEATURES: features} if features else {})


def _describe_broker(broker: Broker, process: Process, asked: Any) -> Any:
    ((kind, name, (config,)),) = asked.resources
    return SimpleNamespace(resources=[(0, None, kind, name, [(config, str(METADATA_BYTES_MAX))])])


def _topic_ids(broker: Broker, process: Process, asked: Any) -> Any:
    return SimpleNamespace(topics=[(0, name, name.encode()) for _, name, _ in asked.topics])


def _offsets(asked: Any) -> Iterator[tuple[TopicPartition, OffsetAndMetadata]]:
    for topic, rows, _ in asked.topics:
        for number, offset, _, metadata, _ in rows:
            yield TopicPartition(topic, number), OffsetAndMetadata(offset, metadata)


def _told_records(asked: Any) -> str:
    return "writes to " + ", ".join(f"{topic}/{row[0]}" for topic, rows, *_ in asked.topics for row in rows)


def _told_offsets(asked: Any) -> str:
    offsets = (f"{tp.topic}/{tp.partition} {at.offset} {at.metadata}".strip() for tp, at in _offsets(asked))
    return "adds offsets " + ", ".join(offsets)


Answer = Callable[[Broker, Process, Any], Any]

ANSWERS: dict[int, tuple[Answer, Callable[[Any], str]]] = {
    0: (_produce, _told_records),
    3: (_topic_ids, lambda asked: "asks for ids of topics"),
    9: (_stable_offsets, lambda asked: f"asks for the offsets of {asked.group_id}"),
    12: (_heartbeat, lambda asked: f"sends a heartbeat to {asked.group_id}"),
    13: (_leave, lambda asked: f"leaves {asked.group_id}"),
    15: (_describe, lambda asked: f"asks who is in {asked.groups[0]}"),
    18: (_versions, lambda asked: "asks for versions"),
    22: (_introduce, lambda asked: f"writes as {asked.transactional_id or 'anybody'}"),
    24: (_add_partitions, lambda asked: "adds partitions"),
    25: (_add_group, lambda asked: f"adds {asked.group_id}"),
    26: (_end, lambda asked: f"commits {asked.transactional_id}"),
    28: (_commit_offsets, _told_offsets),
    32: (_describe_broker, lambda asked: "asks how a broker is configured"),
}
"""By the key of the request."""
