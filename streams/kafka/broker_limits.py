"""How much metadata a broker takes with a committed offset: its `offset.metadata.max.bytes`.

A worker may lack the right to read a broker's configuration (DescribeConfigs on the cluster). It then goes by
Kafka's default, and by less after a broker has refused a commit.
"""

import logging
from typing import Any

from aiokafka.admin.config_resource import ConfigResourceType
from aiokafka.client import ConnectionGroup
from aiokafka.errors import KafkaError
from aiokafka.protocol.admin import DescribeConfigsRequest

log = logging.getLogger(__name__)

METADATA_BYTES = "offset.metadata.max.bytes"


async def metadata_bytes_max(client: Any, node: Any) -> int | None:
    """Return what this broker takes; None if it does not say."""
    request = DescribeConfigsRequest([(ConfigResourceType.BROKER.value, str(node), [METADATA_BYTES])])
    try:
        answer: Any = await client.send(node, request, group=ConnectionGroup.COORDINATION)
    except KafkaError as error:
        log.debug("the configuration of broker %s can't be read: %s", node, error)
        return None
    for code, *_, entries in answer.resources:
        values = {name: value for name, value, *_ in entries}
        if code == 0 and values.get(METADATA_BYTES) is not None:
            return int(values[METADATA_BYTES])
    log.debug("broker %s does not return its %s", node, METADATA_BYTES)
    return None
