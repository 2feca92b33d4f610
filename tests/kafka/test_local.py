"""Local tools on Kafka: quick ones leave no call on `tool-calls`, slow ones and retries go through it."""

import asyncio
from collections.abc import AsyncGenerator

import pytest
import pytest_asyncio

from segue.processors.app.app import App
from segue.processors.app.decorators import workflow
from segue.processors.routing.tools import tool
from segue.processors.stages.attempt import current_attempt
from segue.processors.workflow.task import Task
from segue.streams.client.client import Client
from segue.streams.engine.worker import Worker
from segue.streams.kafka.reader import Reader
from segue.streams.settings import Settings
from segue.topics import codec
from segue.topics.errors import Retryable
from segue.topics.records import CallTool

PATIENCE_S = 60.0


@tool(local=True)
async def quick(n: int) -> int:
    return n + 1


@tool(local=True)
async def slow(n: int) -> int:
    await asyncio.sleep(0.5)
    return n + 1


@tool(local=True, retries=1, backoff_s=0.01)
async def flaky(n: int) -> int:
    if current_attempt().attempt == 1:
        raise Retryable("not yet")
    return n + 1


@workflow
async def three(task: Task, n: int) -> int:
    return await task.tool(flaky, await task.tool(slow, await task.tool(quick, n)))


APP = App("local", workflows=[three], tools=[quick, slow, flaky])


@pytest_asyncio.fixture
async def working(settings: Settings, guarantee: str) -> AsyncGenerator[Settings]:
    chosen = settings.model_copy(update={"guarantee": guarantee})
    worker = Worker(APP, chosen)
    await worker.start()
    await worker.ready()
    yield chosen
    await worker.stop()


@pytest.mark.parametrize("guarantee", ["exactly_once", "at_least_once"])
async def test_only_what_is_slow_or_failed_passes_the_stage_of_tools(working: Settings) -> None:
    async with Client(working) as client, asyncio.timeout(PATIENCE_S):
        task = await client.start("three", 0)
        assert (await client.result(task)).result == 3
    async with Reader(working) as reader:
        partitions = reader.partitions("tool-calls")
        log = reader.read(await reader.beginnings(partitions), await reader.ends(partitions))
        asked: list[CallTool] = [codec.decode(record.topic, record.value) async for record in log]
    assert [(call.route, call.attempt) for call in asked] == [("slow", 1), ("flaky", 2)]
