"""Requests of Kafka's protocol in versions that aiokafka does not speak yet.

*Fencing by the group* (KIP-447): `TxnOffsetCommit` from version 3 on says in which generation of its group
the consumer was when it read. The broker refuses offsets from a member that the group has replaced, and with
them its whole transaction. `OffsetFetch` version 7 can demand stable offsets: it is refused while a
transaction that holds newer ones is open.

*Transactions of version 2* (KIP-890, Kafka 4): `Produce` 12 and `TxnOffsetCommit` 5 make what they write part
of the transaction, which took two requests before. `EndTxn` 5 hands out a new epoch with each transaction, so
that no late request of one slips into the next. A cluster says in `ApiVersions` 3 whether it has them.

All are *flexible* versions (KIP-482): compact strings and arrays, and tagged fields after every structure.
Source: the message definitions of Apache Kafka, clients/src/main/resources/common/message.
"""

from collections.abc import Iterable, Mapping
from io import BytesIO
from typing import Any, NamedTuple, TypeVar

from aiokafka.errors import IncompatibleBrokerVersion, KafkaError
from aiokafka.protocol.api import Request, RequestStruct, Response, ResponseHeader_v0
from aiokafka.protocol.produce import ProduceRequest
from aiokafka.protocol.transaction import EndTxnRequest
from aiokafka.protocol.types import (
    Boolean,
    CompactArray,
    CompactBytes,
    CompactString,
    Int16,
    Int32,
    Int64,
    Schema,
    TaggedFields,
)
from aiokafka.structs import OffsetAndMetadata, TopicPartition

UNSTABLE_OFFSET_COMMIT = 88
REBALANCE_IN_PROGRESS = 27
FENCED_INSTANCE_ID = 82

REPLACED = frozenset({22, 25, FENCED_INSTANCE_ID})
"""Codes that say: the group has gone on without this member."""

ALL_IN_SYNC = -1
"""`acks`: the leader answers when every replica in sync has the records."""

NO_TAGS: dict[int, bytes] = {}
NO_EPOCH = -1

TRANSACTION_FEATURE = "transaction.version"
FINALIZED_FEATURES = 2
"""The tag under which `ApiVersions` lists what the whole cluster has switched on."""

TEXT = CompactString("utf-8")
TAGS = ("tags", TaggedFields)
V = TypeVar("V")


class Membership(NamedTuple):
    """Who a consumer is in its group, as of one assignment."""

    group: str
    generation: int
    member: str
    instance: str | None = None
    """The instance id of a static member."""


Identified = tuple[str, int, int]
"""Who a producer is: its transactional id, its id and its epoch."""


class Replaced(KafkaError):
    """The group has given this member's partitions to another: nothing that it still commits counts."""


class Exactly(Request[RequestStruct]):
    """A request in one version, whatever others the broker knows."""

    API_KEY = -1

    def __init__(self, struct: type[RequestStruct], *values: Any) -> None:
        self._struct = struct
        self._values = values

    def build(self, request_struct_class: type[RequestStruct]) -> RequestStruct:
        return request_struct_class(*self._values, NO_TAGS)

    def prepare(self, versions: dict[int, tuple[int, int]]) -> RequestStruct:
        lowest, highest = versions.get(self._struct.API_KEY, (0, -1))
        if not lowest <= self._struct.API_VERSION <= highest:
            raise IncompatibleBrokerVersion(
                f"Segue needs version {self._struct.API_VERSION} of Kafka's request {self._struct.API_KEY}, "
                f"the broker has {lowest} to {highest}: use Kafka 2.5 or newer"
            )
        return self.build(self._struct)


def flexible(key: int, version: int, asked: Schema, answered: Schema) -> type[RequestStruct]:
    known = {"API_KEY": key, "API_VERSION": version}
    response = type("FlexibleResponse", (Response,), known | {"SCHEMA": answered})
    flexible = {"FLEXIBLE_VERSION": True, "RESPONSE_TYPE": response, "SCHEMA": asked}
    return type("FlexibleRequest", (RequestStruct,), known | flexible)


def _topics(*of_partition: tuple[str, Any]) -> tuple[str, Any]:
    partitions = CompactArray(*of_partition, TAGS)
    return ("topics", CompactArray(("topic", TEXT), ("partitions", partitions), TAGS))


def by_topic(rows: Mapping[TopicPartition, V]) -> list[tuple[str, list[V], dict[int, bytes]]]:
    topics: dict[str, list[V]] = {}
    for tp in sorted(rows):
        topics.setdefault(tp.topic, []).append(rows[tp])
    return [(topic, partitions, NO_TAGS) for topic, partitions in topics.items()]


# ---------------------------------------------------------------- Produce

_REASON = ("error_message", TEXT)
_PRODUCE_V12 = flexible(
    0,
    12,
    Schema(
        ("transactional_id", TEXT),
        ("acks", Int16),
        ("timeout_ms", Int32),
        _topics(("partition", Int32), ("records", CompactBytes)),
        TAGS,
    ),
    Schema(
        _topics(
            ("partition", Int32),
            ("error_code", Int16),
            ("base_offset", Int64),
            ("log_append_time_ms", Int64),
            ("log_start_offset", Int64),
            ("record_errors", CompactArray(("batch_index", Int32), _REASON, TAGS)),
            _REASON,
        ),
        ("throttle_time_ms", Int32),
        TAGS,
    ),
)


def produce(
    transactional_id: str | None, batches: Mapping[TopicPartition, bytes], timeout_ms: int, *, joins: bool
) -> Request[Any]:
    """One batch for each partition; `joins`: writing makes the partitions part of the transaction."""
    if joins:
        rows = {tp: (tp.partition, records, NO_TAGS) for tp, records in batches.items()}
        return Exactly(_PRODUCE_V12, transactional_id, ALL_IN_SYNC, timeout_ms, by_topic(rows))
    plain = by_topic({tp: (tp.partition, records) for tp, records in batches.items()})
    return ProduceRequest(
        transactional_id, ALL_IN_SYNC, timeout_ms, [(topic, rows) for topic, rows, _ in plain]
    )


class Written(NamedTuple):
    """What became of a batch: `offset` is its first record's, `stamp_ms` the broker's time (-1: not told)."""

    to: TopicPartition
    code: int
    offset: int
    stamp_ms: int


def produced(response: Any) -> Iterable[Written]:
    for topic, rows, *_ in response.topics:
        for row in rows:
            yield Written(TopicPartition(topic, row[0]), *row[1:4])


# ---------------------------------------------------------------- TxnOffsetCommit

_OFFSET = (("partition", Int32), ("offset", Int64), ("leader_epoch", Int32), ("metadata", TEXT))
_TXN_OFFSET_COMMIT_V3 = flexible(
    28,
    3,
    Schema(
        ("transactional_id", TEXT),
        ("group_id", TEXT),
        ("producer_id", Int64),
        ("producer_epoch", Int16),
        ("generation_id", Int32),
        ("member_id", TEXT),
        ("group_instance_id", TEXT),
        _topics(*_OFFSET),
        TAGS,
    ),
    Schema(("throttle_time_ms", Int32), _topics(("partition", Int32), ("error_code", Int16)), TAGS),
)
_TXN_OFFSET_COMMIT_V5 = flexible(
    28, 5, _TXN_OFFSET_COMMIT_V3.SCHEMA, _TXN_OFFSET_COMMIT_V3.RESPONSE_TYPE.SCHEMA
)


def txn_offset_commit(
    who: Identified,
    membership: Membership,
    offsets: Mapping[TopicPartition, OffsetAndMetadata],
    *,
    joins: bool,
) -> Exactly:
    """Offsets that become the group's when the transaction commits."""
    name, *producer = who
    group, *member = membership
    rows = {tp: (tp.partition, at.offset, NO_EPOCH, at.metadata, NO_TAGS) for tp, at in offsets.items()}
    version = _TXN_OFFSET_COMMIT_V5 if joins else _TXN_OFFSET_COMMIT_V3
    return Exactly(version, name, group, *producer, *member, by_topic(rows))


# ---------------------------------------------------------------- EndTxn

_END_TXN_V5 = flexible(
    26,
    5,
    Schema(
        ("transactional_id", TEXT),
        ("producer_id", Int64),
        ("producer_epoch", Int16),
        ("committed", Boolean),
        TAGS,
    ),
    Schema(
        ("throttle_time_ms", Int32),
        ("error_code", Int16),
        ("producer_id", Int64),
        ("producer_epoch", Int16),
        TAGS,
    ),
)


def commit_transaction(who: Identified, *, joins: bool) -> Request[Any]:
    """With `joins` the answer has the id and epoch for the next transaction."""
    return Exactly(_END_TXN_V5, *who, True) if joins else EndTxnRequest(*who, True)


# ---------------------------------------------------------------- OffsetFetch

_OFFSET_FETCH_V7 = flexible(
    9,
    7,
    Schema(
        ("group_id", TEXT),
        ("topics", CompactArray(("topic", TEXT), ("partitions", CompactArray(Int32)), TAGS)),
        ("require_stable", Boolean),
        TAGS,
    ),
    Schema(
        ("throttle_time_ms", Int32),
        _topics(*_OFFSET, ("error_code", Int16)),
        ("error_code", Int16),
        TAGS,
    ),
)


def stable_offsets(group: str, partitions: Iterable[TopicPartition]) -> Exactly:
    """The group's committed offsets, refused while a transaction with newer ones is open."""
    return Exactly(_OFFSET_FETCH_V7, group, by_topic({tp: tp.partition for tp in partitions}), True)


# ---------------------------------------------------------------- ApiVersions

_RANGE = (("min_version", Int16), ("max_version", Int16))
_API_VERSIONS_V3 = flexible(
    18,
    3,
    Schema(("client_name", TEXT), ("client_version", TEXT), TAGS),
    Schema(
        ("error_code", Int16),
        ("apis", CompactArray(("key", Int16), *_RANGE, TAGS)),
        ("throttle_time_ms", Int32),
        TAGS,
    ),
)
_FEATURES = CompactArray(("name", TEXT), ("max_version", Int16), ("min_version", Int16), TAGS)


class _ApiVersions(_API_VERSIONS_V3):  # type: ignore[misc, valid-type]
    def parse_response_header(self, read_buffer: BytesIO | bytes) -> ResponseHeader_v0:
        """So that a client which is too new can read the refusal, this answer alone has the oldest header."""
        return ResponseHeader_v0.decode(read_buffer)


def api_versions() -> Exactly:
    return Exactly(_ApiVersions, "segue", "1")


def joins(response: Any) -> bool:
    """Whether the cluster has switched on transactions of version 2."""
    finalized = response.tags.get(FINALIZED_FEATURES)
    features = _FEATURES.decode(BytesIO(finalized)) if finalized else []
    return any(name == TRANSACTION_FEATURE and highest >= 2 for name, highest, *_ in features or [])
