"""How full the topics are and how far each stage has read them, as the cluster itself says."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from aiokafka import TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import GroupCoordinatorNotAvailableError

from segue.streams.kafka.reader import REQUEST_TIMEOUT_MS, Offsets, Reader, broker_errors
from segue.streams.settings import Settings
from segue.topics import contracts
from segue.topics.contracts import Topic
from segue.topics.errors import Unavailable

COORDINATOR_TRIES_MAX = 50
COORDINATOR_POLL_S = 0.1
"""A new cluster makes its topic of offsets when first asked for them, within a second or two."""

COUNTED_MAX = 200
"""Offsets of a partition that are looked at to tell records from transactions' markers."""


@dataclass(frozen=True)
class TopicSurvey:
    """A topic as it is; `partitions` is 0 where it does not exist.

    `records` counts offsets, those of transactions' markers among them. `lag` is how much each stage that
    reads it has still to read: exactly where that is little, else in offsets.
    """

    topic: Topic
    partitions: int = 0
    records: int = 0
    lag: Mapping[str, int] = field(default_factory=dict[str, int])


async def survey(settings: Settings) -> list[TopicSurvey]:
    """Every topic of the contracts, in their order. Raises `Unavailable`."""
    async with Reader(settings) as reader:
        places = {t.name: reader.partitions(t.name) for t in contracts.ALL if reader.exists(t.name)}
        every = [place for found in places.values() for place in found]
        first, last = await reader.beginnings(every), await reader.ends(every)
        read_to = await _read_to(settings, places)
        left = await _left(settings, reader, {p: max(read_to.get(p, 0), first[p]) for p in every}, last)
    return [
        TopicSurvey(
            topic,
            len(places.get(topic.name, ())),
            sum(last[place] - first[place] for place in places.get(topic.name, ())),
            {stage: sum(left[place] for place in places.get(topic.name, ())) for stage in _stages(topic)},
        )
        for topic in contracts.ALL
    ]


async def _left(
    settings: Settings, reader: Reader, read_to: Offsets, ends: Offsets
) -> dict[TopicPartition, int]:
    """What is still to read. A marker stands behind the last record: no stage reads quite to the end."""
    left = {place: ends[place] - offset for place, offset in read_to.items()}
    few = {place: read_to[place] for place, count in left.items() if 0 < count <= COUNTED_MAX}
    left |= dict.fromkeys(few, 0)
    async for record in reader.read(few, ends):
        place = TopicPartition(settings.topic(record.topic), record.partition)
        left[place] += 1
    return left


def _stages(topic: Topic) -> list[str]:
    """Those that read it as a group; changelogs are read by assignment."""
    return [] if topic.name.endswith("-state") else [stage for stage in topic.read_by if stage != "outside"]


async def _read_to(
    settings: Settings, places: Mapping[str, Sequence[TopicPartition]]
) -> dict[TopicPartition, int]:
    """What each topic's stage has committed; a topic is read by one stage."""
    admin: Any = AIOKafkaAdminClient(**settings.client_options(), request_timeout_ms=REQUEST_TIMEOUT_MS)
    read_to: dict[TopicPartition, int] = {}
    with broker_errors(settings):
        try:
            await admin.start()
            for stage in {stage for topic in contracts.ALL for stage in _stages(topic)}:
                committed = await _committed(admin, settings.group(stage))
                read_to |= {place: at.offset for place, at in committed.items()}
        finally:
            await admin.close()
    return {place: read_to[place] for found in places.values() for place in found if place in read_to}


async def _committed(admin: Any, group: str) -> Mapping[TopicPartition, Any]:
    for _ in range(COORDINATOR_TRIES_MAX):
        try:
            offsets: Mapping[TopicPartition, Any] = await admin.list_consumer_group_offsets(group)
        except GroupCoordinatorNotAvailableError:
            await asyncio.sleep(COORDINATOR_POLL_S)
        else:
            return offsets
    raise Unavailable(
        f"the cluster names no coordinator for group {group}: its __consumer_offsets is not available"
    )
