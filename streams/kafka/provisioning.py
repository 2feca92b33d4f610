"""The topics on the cluster, made to agree with their contracts.

Missing ones are created. Of those that exist, whatever would lose or misplace records if it differed is
checked, and refused with what mends it: the number of partitions (a task's records would stand on two), the
cleanup policy (state would expire, or events be compacted away), the largest record, and for how long a
changelog tells what was deleted (a checkpoint would miss it). How long records are kept is the cluster's
business once a topic exists. Workers that start at once all do this, and that is fine.
"""

import asyncio
import logging
from collections.abc import AsyncGenerator, Collection, Mapping
from contextlib import asynccontextmanager
from time import monotonic
from typing import Any

from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.errors import (
    ClusterAuthorizationFailedError,
    InvalidReplicationFactorError,
    KafkaError,
    TopicAlreadyExistsError,
    TopicAuthorizationFailedError,
    for_code,
)

from segue.streams.settings import Settings
from segue.topics.contracts import ALL, DAY_MS, TOMBSTONES_KEPT_MS, Topic
from segue.topics.errors import BadInput, Unavailable

log = logging.getLogger(__name__)

VISIBLE_S_MAX = 15.0
POLL_S = 0.03
ANSWER_S_MAX = 10.0

HEADROOM_BYTES = 48_588
"""For key, headers and frame: Kafka's limit counts a whole batch. With 1,000,000 it makes its default."""

COMPACTION = {
    # The segment being written is never compacted. Small ones close soon, so that a changelog stays near the
    # size of the state it holds, and a restore short.
    "segment.bytes": str(16 * 1024 * 1024),
    "segment.ms": str(60 * 60 * 1000),
    "min.cleanable.dirty.ratio": "0.2",
    "delete.retention.ms": str(TOMBSTONES_KEPT_MS),
    # In a changelog with little traffic, what ended would stay until a fifth of it has changed.
    "max.compaction.lag.ms": str(DAY_MS),
}

CHECKED = ("cleanup.policy", "max.message.bytes", "delete.retention.ms")


async def provision(settings: Settings) -> None:
    """Returns when every topic exists as its contract says.

    Raises `BadInput` if an existing topic differs, `Unavailable` if Kafka can't be reached or refuses.
    """
    async with _admin(settings) as admin:
        existing = await _partition_counts(admin)
        missing = [topic for topic in ALL if settings.topic(topic.name) not in existing]
        if missing:
            await _create(admin, settings, missing)
            existing = await _visible(admin, {settings.topic(topic.name) for topic in ALL})
        _check_partitions(settings, existing)
        await _check_configs(admin, settings)


@asynccontextmanager
async def _admin(settings: Settings) -> AsyncGenerator[AIOKafkaAdminClient]:
    admin = AIOKafkaAdminClient(**settings.client_options())
    try:
        await admin.start()
        yield admin
    except (KafkaError, OSError) as error:
        reason = str(error) or type(error).__name__
        raise Unavailable(f"can't prepare the topics on {settings.bootstrap}: {reason}") from None
    finally:
        await admin.close()


async def _partition_counts(admin: AIOKafkaAdminClient) -> dict[str, int]:
    """All topics are asked for: asking for a missing one by name creates it where a cluster auto-creates."""
    return {topic["topic"]: len(topic["partitions"]) for topic in await admin.describe_topics()}


async def _visible(admin: AIOKafkaAdminClient, names: Collection[str]) -> dict[str, int]:
    """A broker learns of new topics shortly after the controller said that they exist."""
    deadline = monotonic() + VISIBLE_S_MAX
    while True:
        found = await _partition_counts(admin)
        if all(found.get(name) for name in names):
            return found
        if monotonic() > deadline:
            lacking = ", ".join(sorted(name for name in names if not found.get(name)))
            raise Unavailable(
                "topics were created, but brokers do not list them after "
                f"{VISIBLE_S_MAX:.0f} s: {lacking}; try again"
            )
        await asyncio.sleep(POLL_S)


# ---------------------------------------------------------------- create


async def _create(admin: AIOKafkaAdminClient, settings: Settings, topics: list[Topic]) -> None:
    response: Any = await admin.create_topics([_new(topic, settings) for topic in topics])
    for name, code, message in response.topic_errors:
        error = for_code(code)
        if code and error is not TopicAlreadyExistsError:
            detail = message or error.description
            raise Unavailable(f"can't create topic {name}: {detail}. {_remedy(error)}")


def _new(topic: Topic, settings: Settings) -> NewTopic:
    # aiokafka takes -1, the cluster's own default, only beside an explicit assignment, if an empty one.
    assignments: dict[int, list[int]] | None = {} if settings.replication == -1 else None
    return NewTopic(
        settings.topic(topic.name),
        settings.partitions,
        settings.replication,
        assignments,
        _configs(topic, settings.replication),
    )


def _configs(topic: Topic, replication: int) -> dict[str, str]:
    configs = {
        "cleanup.policy": topic.cleanup,
        "max.message.bytes": str(_message_bytes_max(topic)),
        # Time is the brokers', whatever the clocks of those who write say (see `clock`); and records from a
        # clock that is an hour ahead would be refused.
        "message.timestamp.type": "LogAppendTime",
    }
    if topic.cleanup == "compact":
        configs |= COMPACTION
    else:
        configs["retention.ms"] = str(topic.retention_ms)
    if replication >= 3:  # one broker may fail, and what was acknowledged is still there
        configs["min.insync.replicas"] = "2"
    return configs


def _message_bytes_max(topic: Topic) -> int:
    return topic.record_bytes_max + HEADROOM_BYTES


def _remedy(error: type[KafkaError]) -> str:
    if error is InvalidReplicationFactorError:
        return "Set SEGUE_REPLICATION to at most the number of brokers"
    if error in (TopicAuthorizationFailedError, ClusterAuthorizationFailedError):
        return "Grant CREATE on the topics, or have them created: `segue topics --output json` lists them"
    return "The cluster's own log says more"


# ---------------------------------------------------------------- check


def _check_partitions(settings: Settings, existing: Mapping[str, int]) -> None:
    found = {name: existing[name] for name in (settings.topic(topic.name) for topic in ALL)}
    if all(count == settings.partitions for count in found.values()):
        return
    counts = set(found.values())
    if len(counts) == 1:
        remedy = f"set SEGUE_PARTITIONS={counts.pop()}, or SEGUE_TOPIC_PREFIX to a new name for new topics"
    else:
        remedy = (
            "they must all have the same number: add partitions to the smaller ones while no task runs, "
            "or set SEGUE_TOPIC_PREFIX to a new name for new topics"
        )
    wrong = (f"{name} has {n}" for name, n in sorted(found.items()) if n != settings.partitions)
    raise BadInput(f"SEGUE_PARTITIONS is {settings.partitions}, but {', '.join(wrong)}: {remedy}")


async def _check_configs(admin: AIOKafkaAdminClient, settings: Settings) -> None:
    wanted = {settings.topic(topic.name): topic for topic in ALL}
    resources = [ConfigResource(ConfigResourceType.TOPIC, name, dict.fromkeys(CHECKED)) for name in wanted]
    response: Any
    (response,) = await admin.describe_configs(resources)
    for code, message, _, name, entries in response.resources:
        if code:
            log.warning(
                "can't check the configuration of %s: %s", name, message or for_code(code).description
            )
            continue
        found = {key: value for key, value, *_ in entries}
        changes = _changes(wanted[name], found)
        if changes:
            raise BadInput(_mismatch(settings, name, found, changes))


def _changes(topic: Topic, found: Mapping[str, str]) -> dict[str, str]:
    """What must be set on the topic for its contract to hold."""
    changes: dict[str, str] = {}
    if found["cleanup.policy"] != topic.cleanup:
        changes["cleanup.policy"] = topic.cleanup
    if int(found["max.message.bytes"]) < _message_bytes_max(topic):
        changes["max.message.bytes"] = str(_message_bytes_max(topic))
    if topic.cleanup == "compact" and int(found["delete.retention.ms"]) < TOMBSTONES_KEPT_MS:
        changes["delete.retention.ms"] = str(TOMBSTONES_KEPT_MS)
    return changes


def _mismatch(settings: Settings, name: str, found: Mapping[str, str], changes: Mapping[str, str]) -> str:
    differs = ", ".join(f"{key} {found[key]!r} where {value!r} is needed" for key, value in changes.items())
    config = ",".join(f"{key}={value}" for key, value in changes.items())
    return (
        f"topic {name} has {differs}; change it with:\n"
        f"  kafka-configs.sh --bootstrap-server {settings.bootstrap} --alter "
        f"--entity-type topics --entity-name {name} --add-config {config}"
    )


# ---------------------------------------------------------------- reach


async def reach(settings: Settings) -> None:
    """Return when Kafka answers. Raises `Unavailable`, which says what to do."""
    problem = await problem_of(settings)
    if problem is not None:
        raise Unavailable(
            f"no Kafka answers at SEGUE_KAFKA={settings.kafka} ({settings.security_protocol}): {problem}. "
            "Check the address and the SEGUE_SECURITY_PROTOCOL, SEGUE_SASL_… and SEGUE_SSL_… settings, "
            "or unset SEGUE_KAFKA to use a local broker"
        )


async def problem_of(settings: Settings) -> str | None:
    """Why Kafka does not answer a request for its metadata; None if it does."""
    client = AIOKafkaAdminClient(**settings.client_options())
    quiet = logging.getLogger("aiokafka")
    level, quiet.disabled = quiet.disabled, True  # what it would log is what is returned here
    try:
        async with asyncio.timeout(ANSWER_S_MAX):
            await client.start()
            await client.describe_cluster()
    except TimeoutError:
        return f"no answer in {ANSWER_S_MAX:.0f} s"
    except (KafkaError, OSError) as error:
        return str(error) or type(error).__name__
    finally:
        quiet.disabled = level
        await client.close()
    return None
