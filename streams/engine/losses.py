"""Records that are gone before their stage read them: counted, and told to `conduct`, which asks again.

    committed offset below the topic's first offset ─▶ log, metric, `RecordsLost` on `events`
    a topic of calls was deleted and made anew      ─▶ the same, by `conduct`: its state has the ids
    offsets of `conduct` or `delay` set forward     ─▶ log; it reads on from where its state ends
    the state of `conduct` or `delay` was lost      ─▶ log, metric, `RecordsLost`: see `rebuilding`
    offsets of another stage set by somebody else   ─▶ log, metric, `RecordsLost`: maybe they were set forward

See `processors.tasks.losses` for what is asked for again. Requests and signals come from outside and nobody
can ask for them again: their loss is only logged and counted.
"""

import json
import logging
from collections.abc import Iterator, Mapping
from typing import Any

from aiokafka.structs import TopicPartition

from segue.processors.tasks.losses import ASKED_AGAIN
from segue.streams.kafka.positions import Loss, Positions
from segue.streams.kafka.topic_ids import topic_id
from segue.streams.observability.metrics import Metrics
from segue.streams.settings import Settings
from segue.streams.state.store import ENGINE, Store
from segue.topics.flow import Decision, Plain, Publish, Write
from segue.topics.records import RecordsLost

log = logging.getLogger(__name__)

IDS = ENGINE + b"ids"
"""In the state of `conduct`: the ids of the topics that `RecordsLost` may tell of."""

REPAIRED = tuple(sorted(ASKED_AGAIN.keys() - {"events"}))
"""Not where `events` itself is new: what was on the old one was handled, or is lost for good."""

Ids = Mapping[str, str]


def told(loss: Loss, stage: str, metrics: Metrics, now_ms: int) -> Decision:
    """What is published of it."""
    metrics.lost(stage, loss.topic, max(1, loss.end - loss.start))
    if loss.topic not in ASKED_AGAIN:
        return Decision()
    return Decision([_lost(loss.topic, loss.at.partition, loss.before_ms, now_ms)])


async def ids_of(client: Any, settings: Settings) -> Ids:
    """Which topics these are now, as the cluster that `client` is connected to says."""
    return {name: (await topic_id(client, settings.topic(name))).hex() for name in REPAIRED}


def _lost(topic: str, partition: int, before_ms: int, now_ms: int) -> Publish:
    lost = RecordsLost(topic=topic, before_ms=before_ms, at_ms=now_ms)
    return Publish("events", "", lost, partition=partition)


def handled_up_to(store: Store | None, topic: str) -> int | None:
    """Up to which offset of the topic the state has come."""
    at = None if store is None else store.get(_position(topic))
    return None if at is None else int(at)


def position(topic: str, offset: int) -> Write:
    return Plain(_position(topic), b"%d" % offset)


def _position(topic: str) -> bytes:
    return ENGINE + b"at " + topic.encode()


async def made_anew(
    positions: Positions, settings: Settings, ids: Ids, store: Store, number: int, now_ms: int
) -> Decision:
    """What is to be published and remembered where topics are not those that the state knows."""
    known: dict[str, str] = json.loads(store.get(IDS) or b"{}")
    if known == ids:
        return Decision()
    decision = Decision(write=[Plain(IDS, json.dumps(ids).encode())])
    for name in _changed(known, ids):
        topic = settings.topic(name)
        log.error(
            "topic %s was deleted and created again: the calls and timers that were on "
            "it are requested again",
            topic,
        )
        before_ms = await positions.written_since_ms(TopicPartition(topic, number))
        decision.publish.append(_lost(name, number, before_ms, now_ms))
    return decision


def _changed(known: Ids, ids: Ids) -> Iterator[str]:
    return (name for name, found in ids.items() if known.get(name, found) != found)
