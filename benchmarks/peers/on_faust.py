"""Faust: one agent counts each task's steps in a table, another makes them; a step is two hops.

    python -m benchmarks.peers.on_faust exactly_once|at_least_once

An event of a task updates its row and asks for the next step; that is answered by an event with the result.
The task's id is the key of both. The event that starts a task is sent from outside, in no transaction, since
Faust commits a transaction only with what an agent has read. Who waits for a task is told in memory by the
agent that ends it.
"""

import asyncio
import logging
import sys
import tempfile
import time
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from itertools import count
from typing import Any

import faust
from aiokafka.admin import AIOKafkaAdminClient, NewTopic

from benchmarks.peers.program import STEPS, Awaited, noop, serve
from segue.streams.observability.log_throttle import quiet_aiokafka
from segue.streams.settings import Settings

COMMIT_S = {"exactly_once": 0.03, "at_least_once": 2.8}
"""Faust's own default is 2.8 for both; but what is sent exactly once is not read before it is committed."""


def app_of(settings: Settings, folder: str, guarantee: str) -> Any:
    app: Any = faust.App(
        f"peers-{time.time_ns()}",
        broker=f"kafka://{settings.bootstrap}",
        store="memory://",
        datadir=folder,
        processing_guarantee=guarantee,
        topic_partitions=settings.partitions,
        topic_replication_factor=1,
        web_enabled=False,
        producer_linger_ms=0,
        stream_wait_empty=False,
        broker_max_poll_records=500,
        broker_commit_interval=COMMIT_S[guarantee],
    )
    app.in_worker = True  # or it makes no transactions, whatever its guarantee is
    return app


@asynccontextmanager
async def started() -> AsyncGenerator[Awaited]:
    quiet_aiokafka()
    logging.getLogger("mode.timers").setLevel(logging.ERROR)  # it warns of each commit longer than COMMIT_S
    with tempfile.TemporaryDirectory() as folder:
        settings = Settings.load()
        app = app_of(settings, folder, sys.argv[1])
        task = agents(app)
        await _create(settings, app)
        try:
            await app.start()
            await task()
            yield Awaited(task)
        finally:
            await app.stop()


async def _create(settings: Settings, app: Any) -> None:
    """Before it starts: what it subscribes to without finding it, it looks for again a minute later."""
    admin: Any = AIOKafkaAdminClient(**settings.client_options())
    await admin.start()
    names = [f"{app.conf.id}-{name}" for name in ("events", "calls")]
    await admin.create_topics([NewTopic(name, settings.partitions, 1) for name in names])
    await admin.close()


def agents(app: Any) -> Any:
    events = app.topic(f"{app.conf.id}-events", key_type=str, value_serializer="json")
    calls = app.topic(f"{app.conf.id}-calls", key_type=str, value_serializer="json")
    steps = app.Table("steps", default=int)
    waiting: dict[str, asyncio.Future[None]] = {}
    numbers = count()

    @app.agent(events)
    async def conduct(stream: Any) -> None:
        async for key, _ in stream.items():  # noqa: PERF102 - a stream, not a dict
            steps[key] += 1
            if steps[key] <= STEPS:
                await calls.send(key=key, value={"n": steps[key]})
            else:
                waiting.pop(key).set_result(None)

    @app.agent(calls)
    async def tool(stream: Any) -> None:
        async for key, _ in stream.items():  # noqa: PERF102 - a stream, not a dict
            await events.send(key=key, value=await noop())

    async def task() -> None:
        key = f"t{next(numbers)}"
        waiting[key] = asyncio.get_running_loop().create_future()
        await app.producer.send(events.get_topic_name(), key.encode(), b"{}", None, None, None)
        await waiting[key]

    return task


if __name__ == "__main__":
    serve(started, "faust-streaming", "aiokafka")
