"""Two requests of Kafka's protocol that aiokafka does not speak yet: what fences zombies (KIP-447).

`TxnOffsetCommit` version 3 says in which generation of its group the consumer was when it read: the broker
refuses offsets from a member that the group has replaced, and with them its whole transaction. `OffsetFetch`
version 7 can demand stable offsets: it refuses to answer while a transaction that holds newer ones is open.

Both are *flexible* versions (KIP-482): compact strings and arrays, and tagged fields after every structure.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

from aiokafka.protocol.api import Request, RequestStruct, Response
from aiokafka.protocol.types import (
    Boolean,
    CompactArray,
    CompactString,
    Int16,
    Int32,
    Int64,
    Schema,
    TaggedFields,
)
from aiokafka.structs import OffsetAndMetadata, TopicPartition

ILLEGAL_GENERATION = 22
UNKNOWN_MEMBER_ID = 25
FENCED_INSTANCE_ID = 82
UNSTABLE_OFFSET_COMMIT = 88

REPLACED = frozenset({ILLEGAL_GENERATION, UNKNOWN_MEMBER_ID, FENCED_INSTANCE_ID})
"""Error codes that say: the group has gone on without this member."""

NO_TAGS: dict[int, bytes] = {}
NO_EPOCH = -1
_TEXT = CompactString("utf-8")


class Membership(NamedTuple):
    """Who a consumer is in its group, as of one assignment."""

    group: str
    generation: int
    member: str


class TxnOffsetCommitResponseV3(Response):
    API_KEY = 28  # pyright: ignore[reportAssignmentType, reportIncompatibleMethodOverride] # as in aiokafka
    API_VERSION = 3  # pyright: ignore[reportAssignmentType, reportIncompatibleMethodOverride]
    SCHEMA = Schema(
        ("throttle_time_ms", Int32),
        (
            "topics",
            CompactArray(
                ("topic", _TEXT),
                (
                    "partitions",
                    CompactArray(("partition", Int32), ("error_code", Int16), ("tags", TaggedFields)),
                ),
                ("tags", TaggedFields),
            ),
        ),
        ("tags", TaggedFields),
    )


class TxnOffsetCommitRequestV3(RequestStruct):
    API_KEY = 28
    API_VERSION = 3
    FLEXIBLE_VERSION = True
    RESPONSE_TYPE = TxnOffsetCommitResponseV3
    SCHEMA = Schema(
        ("transactional_id", _TEXT),
        ("group_id", _TEXT),
        ("producer_id", Int64),
        ("producer_epoch", Int16),
        ("generation_id", Int32),
        ("member_id", _TEXT),
        ("group_instance_id", _TEXT),
        (
            "topics",
            CompactArray(
                ("topic", _TEXT),
                (
                    "partitions",
                    CompactArray(
                        ("partition", Int32),
                        ("offset", Int64),
                        ("leader_epoch", Int32),
                        ("metadata", _TEXT),
                        ("tags", TaggedFields),
                    ),
                ),
                ("tags", TaggedFields),
            ),
        ),
        ("tags", TaggedFields),
    )


class TxnOffsetCommitRequest(Request[TxnOffsetCommitRequestV3]):
    """Offsets that become the group's when the transaction commits."""

    API_KEY = 28

    def __init__(
        self,
        transactional_id: str,
        producer: tuple[int, int],
        membership: Membership,
        offsets: Mapping[TopicPartition, OffsetAndMetadata],
    ) -> None:
        self._transactional_id = transactional_id
        self._producer = producer
        self._membership = membership
        self._offsets = offsets

    def build(self, request_struct_class: type[TxnOffsetCommitRequestV3]) -> TxnOffsetCommitRequestV3:
        rows = {
            tp: (tp.partition, at.offset, NO_EPOCH, at.metadata, NO_TAGS) for tp, at in self._offsets.items()
        }
        return request_struct_class(
            self._transactional_id,
            self._membership.group,
            *self._producer,
            self._membership.generation,
            self._membership.member,
            None,
            _by_topic(rows),
            NO_TAGS,
        )


class OffsetFetchResponseV7(Response):
    API_KEY = 9  # pyright: ignore[reportAssignmentType, reportIncompatibleMethodOverride] # as in aiokafka
    API_VERSION = 7  # pyright: ignore[reportAssignmentType, reportIncompatibleMethodOverride]
    SCHEMA = Schema(
        ("throttle_time_ms", Int32),
        (
            "topics",
            CompactArray(
                ("topic", _TEXT),
                (
                    "partitions",
                    CompactArray(
                        ("partition", Int32),
                        ("offset", Int64),
                        ("leader_epoch", Int32),
                        ("metadata", _TEXT),
                        ("error_code", Int16),
                        ("tags", TaggedFields),
                    ),
                ),
                ("tags", TaggedFields),
            ),
        ),
        ("error_code", Int16),
        ("tags", TaggedFields),
    )


class OffsetFetchRequestV7(RequestStruct):
    API_KEY = 9
    API_VERSION = 7
    FLEXIBLE_VERSION = True
    RESPONSE_TYPE = OffsetFetchResponseV7
    SCHEMA = Schema(
        ("group_id", _TEXT),
        (
            "topics",
            CompactArray(("topic", _TEXT), ("partitions", CompactArray(Int32)), ("tags", TaggedFields)),
        ),
        ("require_stable", Boolean),
        ("tags", TaggedFields),
    )


class OffsetFetchRequest(Request[OffsetFetchRequestV7]):
    """The group's stable committed offsets of `partitions`."""

    API_KEY = 9

    def __init__(self, group: str, partitions: frozenset[TopicPartition]) -> None:
        self._group = group
        self._partitions = partitions

    def build(self, request_struct_class: type[OffsetFetchRequestV7]) -> OffsetFetchRequestV7:
        rows = {tp: tp.partition for tp in self._partitions}
        return request_struct_class(self._group, _by_topic(rows), True, NO_TAGS)


def _by_topic(rows: Mapping[TopicPartition, Any]) -> list[tuple[str, list[Any], dict[int, bytes]]]:
    topics: dict[str, list[Any]] = {}
    for tp in sorted(rows):
        topics.setdefault(tp.topic, []).append(rows[tp])
    return [(topic, partitions, NO_TAGS) for topic, partitions in topics.items()]
