"""Records that are gone before they were read, on a real broker: tasks end all the same."""

import asyncio
import logging
import shutil
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from aiokafka import AIOKafkaConsumer
from aiokafka.admin import AIOKafkaAdminClient, RecordsToDelete
from aiokafka.structs import OffsetAndMetadata, TopicPartition

from segue import App, Retryable, Task, tool, workflow
from segue.streams.client.client import Client
from segue.streams.engine.stages import ALL_STAGES
from segue.streams.engine.worker import Worker
from segue.streams.kafka.provisioning import provision
from segue.streams.settings import Settings

TASKS = [f"task-{number}" for number in range(6)]
STAGES = tuple(stage for stage in ALL_STAGES if stage not in ("tool", "health"))
PATIENCE_S = 90.0
NAP_S = 3.0
FAILED: set[int] = set()


@tool
async def double(number: int) -> int:
    return 2 * number


@workflow
async def doubled(task: Task, number: int) -> int:
    first = await task.tool(double, number=number)
    return await task.tool(double, number=first)


@tool(retries=1)
async def fail_at_first(number: int) -> int:
    if number not in FAILED:
        FAILED.add(number)
        raise Retryable("not yet")
    return number


@workflow
async def fails_at_first(task: Task, number: int) -> int:
    return await task.tool(fail_at_first, number=number)


@workflow
async def naps(task: Task) -> str:
    await task.sleep(NAP_S)
    return "woke"


APP = App("losses", workflows=[doubled, fails_at_first, naps], tools=[double, fail_at_first])


@asynccontextmanager
async def working(settings: Settings, *stages: str) -> AsyncGenerator[Worker]:
    worker = Worker(APP, settings, stages)
    await worker.start()
    try:
        async with asyncio.timeout(PATIENCE_S):
            await worker.ready()
        yield worker
    finally:
        await worker.stop()


@asynccontextmanager
async def administering(settings: Settings) -> AsyncGenerator[Any]:
    admin: Any = AIOKafkaAdminClient(**settings.client_options())
    await admin.start()
    try:
        yield admin
    finally:
        await admin.close()


def partitions(settings: Settings, topic: str) -> list[TopicPartition]:
    return [TopicPartition(settings.topic(topic), number) for number in range(settings.partitions)]


async def ends(settings: Settings, topic: str) -> dict[TopicPartition, int]:
    consumer: Any = AIOKafkaConsumer(bootstrap_servers=settings.bootstrap)
    async with consumer:
        found: dict[TopicPartition, int] = await consumer.end_offsets(partitions(settings, topic))
        return found


async def until_written(settings: Settings, topic: str, offsets: int) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while sum((await ends(settings, topic)).values()) < offsets:  # noqa: ASYNC110 - Kafka's to tell
            await asyncio.sleep(0.2)


async def begin(settings: Settings) -> None:
    """Tasks whose first call was asked for, and which nobody has made."""
    async with working(settings, *STAGES), Client(settings) as client:
        for number, task in enumerate(TASKS):
            await client.start("doubled", number, task)
        await until_written(settings, "tool-calls", len(TASKS))


async def reset(settings: Settings, stage: str, offsets: dict[TopicPartition, int]) -> None:
    """Set the offsets of a stage's group as `kafka-consumer-groups --reset-offsets` does."""
    consumer: Any = AIOKafkaConsumer(
        bootstrap_servers=settings.bootstrap, group_id=settings.group(stage), enable_auto_commit=False
    )
    async with consumer:
        consumer.assign(list(offsets))
        await consumer.commit({tp: OffsetAndMetadata(offset, "") for tp, offset in offsets.items()})


def lost_calls(worker: Worker) -> float:
    labels = {"stage": "tool", "topic": "tool-calls"}
    return worker.metrics.registry.get_sample_value("segue_lost_records_total", labels) or 0


async def results(settings: Settings) -> list[Any]:
    async with Client(settings) as client, asyncio.timeout(PATIENCE_S):
        return [(await client.result(task)).result for task in TASKS]


async def test_calls_that_were_removed_before_a_worker_came_are_asked_for_again(
    settings: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    await provision(settings)
    await begin(settings)
    async with administering(settings) as admin:
        gone = {tp: RecordsToDelete(end) for tp, end in (await ends(settings, "tool-calls")).items()}
        await admin.delete_records(gone)
    with caplog.at_level(logging.ERROR):
        async with working(settings, *STAGES, "tool") as worker:
            assert await results(settings) == [4 * number for number in range(len(TASKS))]
            assert lost_calls(worker) >= len(TASKS)
    assert "which is a bug" not in caplog.text
    assert "were removed before it read them" in caplog.text


async def test_calls_on_a_topic_that_was_deleted_are_asked_for_again(settings: Settings) -> None:
    await provision(settings)
    await begin(settings)
    async with administering(settings) as admin:
        await admin.delete_topics([settings.topic("tool-calls")])
        await asyncio.sleep(2.0)
    async with working(settings, *STAGES, "tool"):
        assert await results(settings) == [4 * number for number in range(len(TASKS))]


async def test_a_topic_that_is_deleted_under_running_workers_is_made_anew(settings: Settings) -> None:
    await provision(settings)
    async with working(settings, *STAGES), Client(settings) as client:
        for number, task in enumerate(TASKS[:3]):
            await client.start("doubled", number, task)
        await until_written(settings, "tool-calls", 3)
        async with administering(settings) as admin:
            await admin.delete_topics([settings.topic("tool-calls")])
        for number, task in enumerate(TASKS[3:], 3):
            await client.start("doubled", number, task)
        async with working(settings.model_copy(update={"worker_id": "tools"}), "tool"):
            assert await results(settings) == [4 * number for number in range(len(TASKS))]


@pytest.mark.parametrize("guarantee", ["exactly_once", "at_least_once"])
async def test_events_that_an_operator_passed_over_are_read_all_the_same(
    settings: Settings, guarantee: str
) -> None:
    settings = settings.model_copy(update={"guarantee": guarantee})
    await provision(settings)
    await begin(settings)
    before = sum((await ends(settings, "events")).values())
    async with working(settings, "tool"):
        await until_written(settings, "events", before + len(TASKS))
    await reset(settings, "conduct", await ends(settings, "events"))
    async with working(settings, *STAGES, "tool"):
        assert await results(settings) == [4 * number for number in range(len(TASKS))]


@pytest.mark.parametrize("guarantee", ["exactly_once", "at_least_once"])
async def test_calls_that_an_operator_passed_over_are_asked_for_again(
    settings: Settings, guarantee: str, caplog: pytest.LogCaptureFixture
) -> None:
    settings = settings.model_copy(update={"guarantee": guarantee})
    await provision(settings)
    await begin(settings)
    async with working(settings, "tool", "recover") as worker:
        await until_written(settings, "events", 2 * len(TASKS))
        assert lost_calls(worker) == 0, "offsets that Segue commits are its own"
    async with working(settings, *STAGES):
        await until_written(settings, "tool-calls", 2 * len(TASKS))
    await reset(settings, "tool", await ends(settings, "tool-calls"))
    async with working(settings, *STAGES, "tool") as worker:
        assert await results(settings) == [4 * number for number in range(len(TASKS))]
        assert lost_calls(worker) > 0
    assert "by another program than Segue" in caplog.text


async def test_failures_that_an_operator_passed_over_are_made_up_for(settings: Settings) -> None:
    await provision(settings)
    others = [stage for stage in ALL_STAGES if stage not in ("recover", "health")]
    async with working(settings, *others), Client(settings) as client:
        for number, task in enumerate(TASKS):
            await client.start("fails_at_first", number, task)
        await until_written(settings, "failures", len(TASKS))
    await reset(settings, "recover", await ends(settings, "failures"))
    async with working(settings, *others, "recover"):
        assert await results(settings) == list(range(len(TASKS)))


async def test_offsets_that_were_set_back_do_no_harm(settings: Settings) -> None:
    await provision(settings)
    async with working(settings, *STAGES, "tool"), Client(settings) as client:
        for number, task in enumerate(TASKS):
            await client.start("doubled", number, task)
        await results(settings)
    for stage, topic in (("tool", "tool-calls"), ("intake", "tasks"), ("conduct", "events")):
        await reset(settings, stage, dict.fromkeys(partitions(settings, topic), 0))
    before = sum((await ends(settings, "results")).values())
    async with working(settings, *STAGES, "tool"), Client(settings) as client:
        await client.start("doubled", 7, "after")
        assert (await client.result("after")).result == 28
        assert [status.state for status in await client.statuses()] == ["succeeded"] * (len(TASKS) + 1)
    assert sum((await ends(settings, "results")).values()) - before <= 2, "its result, and a marker"


@pytest.mark.parametrize("guarantee", ["exactly_once", "at_least_once"])
async def test_a_changelog_that_was_deleted_is_written_back_from_the_worker_that_has_the_state(
    settings: Settings, guarantee: str, caplog: pytest.LogCaptureFixture
) -> None:
    settings = settings.model_copy(update={"guarantee": guarantee})
    await provision(settings)
    await begin(settings)
    async with administering(settings) as admin:
        await admin.delete_topics([settings.topic("conduct-state")])
        await asyncio.sleep(2.0)
    async with working(settings, *STAGES):
        pass
    assert "were written back from this worker's state" in caplog.text
    shutil.rmtree(settings.state_dir)  # from now on the changelog is the only copy
    async with working(settings, *STAGES, "tool"):
        assert await results(settings) == [4 * number for number in range(len(TASKS))]


async def lose_state(settings: Settings, changelog: str) -> None:
    """Delete the changelog, and with it the state on the disks of all workers."""
    async with administering(settings) as admin:
        await admin.delete_topics([settings.topic(changelog)])
    shutil.rmtree(settings.state_dir)
    await asyncio.sleep(2.0)


@pytest.mark.parametrize("guarantee", ["exactly_once", "at_least_once"])
async def test_state_of_which_no_copy_is_left_is_rebuilt_from_the_log(
    settings: Settings, guarantee: str, caplog: pytest.LogCaptureFixture
) -> None:
    settings = settings.model_copy(update={"guarantee": guarantee})
    await provision(settings)
    async with working(settings, *STAGES, "tool"), Client(settings) as client:
        assert await client.run("doubled", 5, "ended") == 20
    asked = sum((await ends(settings, "tool-calls")).values())
    await begin(settings)
    before = sum((await ends(settings, "events")).values())
    async with working(settings, "tool"):
        await until_written(settings, "events", before + len(TASKS))
    async with working(settings, *STAGES):
        await until_written(settings, "tool-calls", asked + 2 * len(TASKS))
    await lose_state(settings, "conduct-state")
    async with working(settings, *STAGES, "tool"), Client(settings) as client:
        assert await results(settings) == [4 * number for number in range(len(TASKS))]
        await client.start("doubled", 6, "ended")
        assert await client.run("doubled", 7, "after") == 28
        assert (await client.result("ended")).result == 20, "its id is known"
    assert "were rebuilt from their logs" in caplog.text
    shutil.rmtree(settings.state_dir)
    async with working(settings, *STAGES, "tool"), Client(settings) as client:
        assert await client.run("doubled", 8, "again") == 32
    assert caplog.text.count("were rebuilt from their logs") == settings.partitions, "once for each"


async def test_a_task_fails_with_the_reason_if_its_state_and_its_log_are_lost(settings: Settings) -> None:
    await provision(settings)
    await begin(settings)
    async with administering(settings) as admin:
        gone = {tp: RecordsToDelete(end) for tp, end in (await ends(settings, "events")).items()}
        await admin.delete_records(gone)
    await lose_state(settings, "conduct-state")
    async with working(settings, *STAGES, "tool"), Client(settings) as client:
        for task in TASKS:
            result = await client.result(task, PATIENCE_S)
            assert (result.outcome, result.problem and result.problem.type) == ("failed", "StateLost")
        assert {status.state for status in await client.statuses()} == {"failed"}
        assert await client.run("doubled", 9, "after") == 36


async def test_timers_of_which_no_copy_is_left_are_set_again(settings: Settings) -> None:
    await provision(settings)
    async with working(settings, *STAGES), Client(settings) as client:
        await client.start("naps", id="nap")
        await until_written(settings, "delay-state", 1)
    await lose_state(settings, "delay-state")
    async with working(settings, *STAGES), Client(settings) as client:
        assert (await client.result("nap", PATIENCE_S)).result == "woke"
