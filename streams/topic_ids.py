"""Which topic it is: the id that Kafka gives a topic when it is created, and no other topic ever has.

A name says less: the topic of that name on another cluster, on a mirror, or created anew after it was deleted
has other records at the same offsets. Kafka tells ids from version 10 of `Metadata` on (Kafka 2.8, KIP-516),
which aiokafka does not speak.
"""

# aiokafka is annotated only in part.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false

from io import BytesIO
from typing import Any

from aiokafka.errors import for_code
from aiokafka.protocol.abstract import AbstractType
from aiokafka.protocol.api import Request, RequestStruct, Response
from aiokafka.protocol.types import Boolean, CompactArray, CompactString, Int16, Int32, Schema, TaggedFields

ID_BYTES = 16
ANY_ID = bytes(ID_BYTES)
"""In a request: the topic is meant by its name."""

_TEXT = CompactString("utf-8")


class TopicId(AbstractType[bytes]):
    @classmethod
    def encode(cls, value: bytes) -> bytes:
        return value

    @classmethod
    def decode(cls, data: BytesIO) -> bytes:
        return data.read(ID_BYTES)


_PARTITION = CompactArray(
    ("error_code", Int16),
    ("partition", Int32),
    ("leader", Int32),
    ("leader_epoch", Int32),
    ("replicas", CompactArray(Int32)),
    ("isr", CompactArray(Int32)),
    ("offline", CompactArray(Int32)),
    ("tags", TaggedFields),
)


class MetadataResponseV10(Response):
    API_KEY = 3  # pyright: ignore[reportAssignmentType, reportIncompatibleMethodOverride] # as in aiokafka
    API_VERSION = 10  # pyright: ignore[reportAssignmentType, reportIncompatibleMethodOverride]
    SCHEMA = Schema(
        ("throttle_time_ms", Int32),
        (
            "brokers",
            CompactArray(
                ("node_id", Int32), ("host", _TEXT), ("port", Int32), ("rack", _TEXT), ("tags", TaggedFields)
            ),
        ),
        ("cluster_id", _TEXT),
        ("controller_id", Int32),
        (
            "topics",
            CompactArray(
                ("error_code", Int16),
                ("name", _TEXT),
                ("topic_id", TopicId),
                ("is_internal", Boolean),
                ("partitions", _PARTITION),
                ("operations", Int32),
                ("tags", TaggedFields),
            ),
        ),
        ("operations", Int32),
        ("tags", TaggedFields),
    )


class MetadataRequestV10(RequestStruct):
    API_KEY = 3
    API_VERSION = 10
    FLEXIBLE_VERSION = True
    RESPONSE_TYPE = MetadataResponseV10
    SCHEMA = Schema(
        ("topics", CompactArray(("topic_id", TopicId), ("name", _TEXT), ("tags", TaggedFields))),
        ("allow_auto_topic_creation", Boolean),
        ("include_cluster_operations", Boolean),
        ("include_topic_operations", Boolean),
        ("tags", TaggedFields),
    )


class MetadataRequest(Request[MetadataRequestV10]):
    """About the topic of this name alone."""

    API_KEY = 3

    def __init__(self, name: str) -> None:
        self._name = name

    def build(self, request_struct_class: type[MetadataRequestV10]) -> MetadataRequestV10:
        return request_struct_class([(ANY_ID, self._name, {})], False, False, False, {})


async def topic_id(client: Any, name: str) -> bytes:
    """Asks the cluster that `client`, a connected `AIOKafkaClient`, knows. Raises `KafkaError`."""
    response = await client.send(client.get_random_node(), MetadataRequest(name))
    ((code, _, found, *_),) = response.topics
    if code:
        raise for_code(code)(f"can't tell which topic {name} is")
    return bytes(found)
