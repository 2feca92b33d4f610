"""Topics and state of a benchmark's own, and its clients: what it measures touches nothing else."""

import asyncio
import tempfile
import time
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer

from benchmarks.raw import delete_topics
from segue.streams.local.broker import ensure_broker
from segue.streams.settings import Settings
from segue.topics import contracts


@asynccontextmanager
async def own_settings(name: str, **changes: Any) -> AsyncGenerator[Settings]:
    """Settings for the broker that the environment names. The topics are deleted afterwards."""
    given = Settings.load()
    await ensure_broker(given)
    with tempfile.TemporaryDirectory() as directory:
        own: dict[str, Any] = {"topic_prefix": f"{name}-{time.time_ns()}.", "kafka": given.bootstrap}
        settings = given.model_copy(update=own | {"state_dir": Path(directory)} | changes)
        try:
            yield settings
        finally:
            await delete_topics(settings, [topic.name for topic in contracts.ALL])


@asynccontextmanager
async def clients(settings: Settings, *, linger_ms: int) -> AsyncGenerator[tuple[Any, Any]]:
    """A producer, and a consumer of `results` from their beginning; aiokafka types them only in part."""
    options = settings.client_options()
    producer: Any = AIOKafkaProducer(**options, linger_ms=linger_ms)
    isolation = "read_committed" if settings.guarantee == "exactly_once" else "read_uncommitted"
    results: Any = AIOKafkaConsumer(
        settings.topic("results"), **options, isolation_level=isolation, auto_offset_reset="earliest"
    )
    await asyncio.gather(producer.start(), results.start())
    try:
        yield producer, results
    finally:
        await asyncio.gather(producer.stop(), results.stop())
