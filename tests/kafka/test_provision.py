"""Topics on a real cluster."""

import asyncio
import re
from typing import Any

import pytest
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType

from segue.streams.kafka.provisioning import provision
from segue.streams.settings import Settings
from segue.topics.contracts import ALL, DAY_MS
from segue.topics.errors import BadInput, Unavailable


async def create(settings: Settings, name: str, partitions: int = 2, **configs: str) -> None:
    admin = AIOKafkaAdminClient(**settings.client_options())
    await admin.start()
    named = {key.replace("_", "."): value for key, value in configs.items()}
    await admin.create_topics([NewTopic(settings.topic(name), partitions, 1, topic_configs=named)])
    await admin.close()


async def configs(settings: Settings, name: str, *keys: str) -> dict[str, str]:
    admin = AIOKafkaAdminClient(**settings.client_options())
    await admin.start()
    topic = ConfigResource(ConfigResourceType.TOPIC, settings.topic(name), dict.fromkeys(keys))
    response: Any
    (response,) = await admin.describe_configs([topic])
    await admin.close()
    ((*_, entries),) = response.resources
    return {key: value for key, value, *_ in entries}


async def partitions(settings: Settings) -> dict[str, int]:
    admin = AIOKafkaAdminClient(**settings.client_options())
    await admin.start()
    found = await admin.describe_topics()
    await admin.close()
    ours = (topic for topic in found if topic["topic"].startswith(settings.topic_prefix))
    return {topic["topic"].removeprefix(settings.topic_prefix): len(topic["partitions"]) for topic in ours}


async def test_every_topic_is_created_with_the_partitions_asked_for(settings: Settings) -> None:
    await provision(settings)
    assert await partitions(settings) == {topic.name: 2 for topic in ALL}


async def test_a_log_is_kept_for_its_time_and_a_changelog_is_compacted(settings: Settings) -> None:
    await provision(settings)
    keys = ("cleanup.policy", "retention.ms", "max.message.bytes")
    assert await configs(settings, "events", *keys) == {
        "cleanup.policy": "delete",
        "retention.ms": str(30 * DAY_MS),
        "max.message.bytes": "1048588",
    }
    keys = ("cleanup.policy", "segment.bytes", "min.cleanable.dirty.ratio")
    assert await configs(settings, "conduct-state", *keys) == {
        "cleanup.policy": "compact",
        "segment.bytes": "16777216",
        "min.cleanable.dirty.ratio": "0.2",
    }


async def test_workers_that_start_at_once_and_again_all_find_the_topics(settings: Settings) -> None:
    await asyncio.gather(*(provision(settings) for _ in range(4)))
    await provision(settings)
    assert await partitions(settings) == {topic.name: 2 for topic in ALL}


async def test_other_partitions_than_asked_for_are_refused_with_what_to_set(settings: Settings) -> None:
    await provision(settings)
    wider = settings.model_copy(update={"partitions": 3})
    with pytest.raises(
        BadInput, match=r"SEGUE_PARTITIONS is 3, but .*events has 2.*: set SEGUE_PARTITIONS=2"
    ):
        await provision(wider)


async def test_topics_that_differ_among_themselves_are_refused(settings: Settings) -> None:
    await create(settings, "events", partitions=5)
    expected = (
        f"SEGUE_PARTITIONS is 2, but {settings.topic_prefix}events has 5: they must all have the same number"
    )
    with pytest.raises(BadInput, match=re.escape(expected)):
        await provision(settings)


async def test_a_changelog_that_would_expire_is_refused_with_the_command_that_mends_it(
    settings: Settings,
) -> None:
    await create(settings, "conduct-state", cleanup_policy="delete")
    name = settings.topic("conduct-state")
    expected = (
        f"topic {name} has cleanup.policy 'delete' where 'compact' is needed; change it with:\n"
        f"  kafka-configs.sh --bootstrap-server {settings.bootstrap} --alter "
        f"--entity-type topics --entity-name {name} --add-config cleanup.policy=compact"
    )
    with pytest.raises(BadInput, match=f"^{re.escape(expected)}$"):
        await provision(settings)


async def test_a_topic_too_small_for_its_records_is_refused(settings: Settings) -> None:
    await create(settings, "dead-letters")
    with pytest.raises(BadInput, match=r"max\.message\.bytes '1048588' where '16825804' is needed"):
        await provision(settings)


async def test_more_copies_than_brokers_are_refused_with_what_to_set(settings: Settings) -> None:
    with pytest.raises(Unavailable, match=r"can't create topic .* Set SEGUE_REPLICATION"):
        await provision(settings.model_copy(update={"replication": 3}))


async def test_the_clusters_own_replication_is_used_unless_told_otherwise(settings: Settings) -> None:
    await provision(settings.model_copy(update={"replication": -1}))
    assert await partitions(settings) == {topic.name: 2 for topic in ALL}


async def test_a_changelog_that_forgets_deletions_too_soon_for_checkpoints_is_refused(
    settings: Settings,
) -> None:
    await create(settings, "conduct-state", cleanup_policy="compact", delete_retention_ms="60000")
    with pytest.raises(BadInput, match=r"delete\.retention\.ms '60000' where '3600000' is needed"):
        await provision(settings)


async def test_a_retention_that_somebody_chose_is_left_alone(settings: Settings) -> None:
    await create(settings, "events", retention_ms="777000")
    await provision(settings)
    assert await configs(settings, "events", "retention.ms") == {"retention.ms": "777000"}
