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
from aiokafka.protocol.types import Boolean, CompactArray, Int16, Int32, Schema

from segue.streams.kafka.protocol import NO_TAGS, TAGS, TEXT, Exactly, flexible

ID_BYTES = 16
ANY_ID = bytes(ID_BYTES)
"""In a request: the topic is meant by its name."""


class TopicId(AbstractType[bytes]):
    @classmethod
    def encode(cls, value: bytes) -> bytes:
        return value

    @classmethod
    def decode(cls, data: BytesIO) -> bytes:
        return data.read(ID_BYTES)


_METADATA_V10 = flexible(
    3,
    10,
    Schema(
        ("topics", CompactArray(("topic_id", TopicId), ("name", TEXT), TAGS)),
        ("allow_auto_topic_creation", Boolean),
        ("include_cluster_operations", Boolean),
        ("include_topic_operations", Boolean),
        TAGS,
    ),
    Schema(
        ("throttle_time_ms", Int32),
        ("brokers", CompactArray(("node", Int32), ("host", TEXT), ("port", Int32), ("rack", TEXT), TAGS)),
        ("cluster_id", TEXT),
        ("controller", Int32),
        (
            "topics",
            CompactArray(
                ("error_code", Int16),
                ("name", TEXT),
                ("topic_id", TopicId),
                ("is_internal", Boolean),
                (
                    "partitions",
                    CompactArray(
                        ("error_code", Int16),
                        ("partition", Int32),
                        ("leader", Int32),
                        ("leader_epoch", Int32),
                        ("replicas", CompactArray(Int32)),
                        ("in_sync", CompactArray(Int32)),
                        ("offline", CompactArray(Int32)),
                        TAGS,
                    ),
                ),
                ("operations", Int32),
                TAGS,
            ),
        ),
        ("operations", Int32),
        TAGS,
    ),
)


async def topic_id(client: Any, name: str) -> bytes:
    """Asks the cluster that `client`, a connected `AIOKafkaClient`, knows. Raises `KafkaError`."""
    about = [(ANY_ID, name, NO_TAGS)]
    request = Exactly(_METADATA_V10, about, False, False, False)
    response = await client.send(client.get_random_node(), request)
    ((code, _, found, *_),) = response.topics
    if code:
        raise for_code(code)(f"can't tell which topic {name} is")
    return bytes(found)
