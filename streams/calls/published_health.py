"""Reads the health of candidates as workers publish it. Needs no worker."""

from contextlib import suppress

from segue.processors.routing.circuit_breaker import believed
from segue.streams.kafka.broker_clock import now_ms
from segue.streams.kafka.reader import Reader
from segue.streams.settings import Settings
from segue.topics import codec
from segue.topics.errors import BadRecord
from segue.topics.health import Health


async def known(settings: Settings) -> list[Health]:
    """What is published of each candidate, by name, with its circuit as calls go by it now."""
    found: dict[str, Health] = {}
    async with Reader(settings) as reader:
        places = reader.partitions("health")
        async for record in reader.read(await reader.beginnings(places), await reader.ends(places)):
            with suppress(BadRecord):
                health: Health = codec.decode(record.topic, record.value)
                found[health.candidate] = health
    at_ms = now_ms()
    return [found[name].model_copy(update={"state": believed(found[name], at_ms)}) for name in sorted(found)]
