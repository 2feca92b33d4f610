"""How full the topics are and how far each stage has read them, as the cluster itself says."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from aiokafka import TopicPartition
from aiokafka.admin import AIOKafkaAdminClient

from streams.reader import REQUEST_TIMEOUT_MS, Reader, broker_errors
from streams.settings import Settings
from topics import contracts
from topics.contracts import Topic


@dataclass(frozen=True)
class TopicSurvey:
    """A topic as it is. `records` counts offsets, those of transactions' markers among them.

    `lag` is, for each stage that reads it, how many offsets it has still to go; `partitions` is 0 where the
    topic does not exist.
    """

    topic: Topic
    partitions: int = 0
    records: int = 0
    lag: dict[str, int] | None = None


async def survey(settings: Settings) -> list[TopicSurvey]:
    """Every topic of the contracts, in their order. Raises `Unavailable`."""
    async with Reader(settings) as reader:
        existing = [topic for topic in contracts.ALL if reader.exists(topic.name)]
        places = {topic.name: reader.partitions(topic.name) for topic in existing}
        every = [place for found in places.values() for place in found]
        first, last = await reader.beginnings(every), await reader.ends(every)
    groups = await _read_to(settings, {stage for topic in existing for stage in _stages(topic)})
    found = {
        topic.name: TopicSurvey(
            topic,
            len(places[topic.name]),
            sum(last[place] - first[place] for place in places[topic.name]),
            {
                stage: sum(last[p] - max(groups[stage].get(p, 0), first[p]) for p in places[topic.name])
                for stage in _stages(topic)
            },
        )
        for topic in existing
    }
    return [found.get(topic.name, TopicSurvey(topic)) for topic in contracts.ALL]


def _stages(topic: Topic) -> list[str]:
    """Those that read it as a group; changelogs are read by assignment."""
    return [] if topic.name.endswith("-state") else [stage for stage in topic.read_by if stage != "outside"]


async def _read_to(settings: Settings, stages: Iterable[str]) -> dict[str, dict[TopicPartition, int]]:
    admin: Any = AIOKafkaAdminClient(**settings.client_options(), request_timeout_ms=REQUEST_TIMEOUT_MS)
    with broker_errors(settings):
        try:
            await admin.start()
            return {
                stage: {
                    place: committed.offset
                    for place, committed in (
                        await admin.list_consumer_group_offsets(settings.group(stage))
                    ).items()
                }
                for stage in sorted(stages)
            }
        finally:
            await admin.close()
