"""Records of `events` expire while a task sleeps: it goes on, and can still be looked at and replayed."""

import shutil
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from aiokafka import TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, RecordsToDelete

from segue import App, Task, tool, workflow
from segue.streams.client.client import Client
from segue.streams.engine.worker import Worker
from segue.streams.kafka.reader import Reader
from segue.streams.settings import Settings
from segue.streams.testing.replay import Replay
from segue.topics import codec
from segue.topics.contracts import LOG_TOPICS
from segue.topics.errors import UnknownName
from tests.kafka.engine import until

called: list[str] = []


@tool
async def work(what: str) -> str:
    called.append(what)
    return what


@workflow
async def long(task: Task, seconds: float) -> list[str]:
    first = await task.tool(work, what="before")
    await task.sleep(seconds)
    return [first, await task.tool(work, what="after")]


APP = App("expired", workflows=[long], tools=[work])


@asynccontextmanager
async def working(settings: Settings) -> AsyncGenerator[None]:
    worker = Worker(APP, settings)
    await worker.start()
    try:
        await worker.ready()
        yield
    finally:
        await worker.stop()


async def expire(settings: Settings, *topics: str) -> None:
    """All that stands on the topics is gone, as if it had outlived its retention."""
    async with Reader(settings) as reader:
        ends = await reader.ends([place for topic in topics for place in reader.partitions(topic)])
    admin: Any = AIOKafkaAdminClient(**settings.client_options())
    await admin.start()
    wanted: dict[TopicPartition, Any] = {
        place: RecordsToDelete(before_offset=end) for place, end in ends.items() if end
    }
    await admin.delete_records(wanted)
    await admin.close()


async def kinds(client: Client, task: str) -> list[str]:
    history = await client.history(task)
    return [codec.decode("events", record.value).kind for record in history if record.topic == "events"]


async def test_a_task_whose_events_have_expired_goes_on_from_its_state(settings: Settings) -> None:
    called.clear()
    async with Client(settings) as client:
        async with working(settings):
            task = await client.start("long", 12.0)
            await until(lambda: called == ["before"])
            async for record in client.follow(task):
                if record.topic == "delays":
                    break
        await expire(settings, "events")
        assert await kinds(client, task) == ["submitted", "step_succeeded"]
        replay = Replay(APP, await client.history(task))
        assert [len(played.asked) for played in replay] == [1, 1]
        assert replay.parked is None
        shutil.rmtree(settings.state_dir)
        async with working(settings):
            result = await client.result(task, timeout_s=40)
        assert (result.outcome, result.result, called) == (
            "succeeded",
            ["before", "after"],
            ["before", "after"],
        )
        assert "results" in [record.topic for record in await client.history(task)]
        await expire(settings, *(topic for topic in LOG_TOPICS if topic != "status"))
        with pytest.raises(UnknownName, match=f"^task '{task}' succeeded, but its log has expired$"):
            await client.history(task)
