"""The local broker: one for a folder, its data kept, and what it says when it can't start."""

import asyncio
import os
import signal
import socket
import sys
import tempfile
from collections.abc import AsyncGenerator, Iterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition

from segue.streams.kafka.provisioning import provision
from segue.streams.kafka.reader import Reader
from segue.streams.local.broker import broker_status, ensure_broker, stop_broker
from segue.streams.settings import Settings
from segue.topics.errors import Unavailable
from tests.kafka.conftest import free_port


@pytest.fixture(scope="module")
def folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="segue-test-") as folder:
        yield Path(folder)


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def own(folder: Path) -> AsyncGenerator[Settings]:
    """A broker that these tests may stop and kill; not yet started."""
    settings = Settings(state_dir=folder, local_broker_port=free_port(), partitions=1)
    yield settings
    await stop_broker(settings)


@pytest.fixture
def elsewhere(tmp_path: Path) -> Settings:
    """Settings of a broker that a test expects not to come up."""
    return Settings(state_dir=tmp_path, local_broker_port=free_port())


async def command(settings: Settings) -> int:
    """Another process that needs the broker, and ends when it has it."""
    code = (
        "import asyncio; from segue.streams.local.broker import *; "
        "from segue.streams.settings import Settings; asyncio.run(ensure_broker(Settings()))"
    )
    environment = {
        "SEGUE_STATE_DIR": str(settings.state_dir),
        "SEGUE_LOCAL_BROKER_PORT": str(settings.local_broker_port),
    }
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", code, env=os.environ | environment)
    return await process.wait()


async def pid(settings: Settings) -> int:
    found = (await broker_status(settings)).pid
    assert found is not None
    return found


async def produce(settings: Settings, value: bytes) -> None:
    producer: Any
    async with AIOKafkaProducer(**settings.client_options(), acks="all") as producer:
        await producer.send_and_wait(settings.topic("events"), value, partition=0)


async def values(settings: Settings) -> list[bytes]:
    consumer: Any
    async with AIOKafkaConsumer(**settings.client_options(), auto_offset_reset="earliest") as consumer:
        partition = TopicPartition(settings.topic("events"), 0)
        consumer.assign([partition])
        end = (await consumer.end_offsets([partition]))[partition]
        return [(await consumer.getone()).value for _ in range(end)]


async def test_commands_that_start_at_once_share_one_broker_which_outlives_them(own: Settings) -> None:
    assert list(await asyncio.gather(command(own), command(own))) == [0, 0]
    first = await pid(own)
    await ensure_broker(own)
    status = await broker_status(own)
    assert (status.pid, status.answers, status.local) == (first, True, True)


async def test_what_was_written_is_there_after_a_stop_and_after_a_crash(own: Settings) -> None:
    await ensure_broker(own)
    await provision(own)
    await produce(own, b"before the stop")
    assert await stop_broker(own)

    await ensure_broker(own)
    await produce(own, b"before the crash")
    os.kill(await pid(own), signal.SIGKILL)

    await ensure_broker(own)
    assert await values(own) == [b"before the stop", b"before the crash"]


async def test_a_transaction_that_was_open_at_a_crash_ends_and_holds_no_reader_up(own: Settings) -> None:
    await ensure_broker(own)
    await provision(own)
    producer: Any = AIOKafkaProducer(
        **own.client_options(), transactional_id="open", transaction_timeout_ms=1_000
    )
    await producer.start()
    await producer.begin_transaction()
    await producer.send_and_wait(own.topic("results"), b"never committed", partition=0)
    os.kill(await pid(own), signal.SIGKILL)
    await producer.stop()

    await ensure_broker(own)
    async with Reader(own) as reader, asyncio.timeout(20):
        place = TopicPartition(own.topic("results"), 0)
        while (await reader.ends([place]))[place] < 2:  # noqa: ASYNC110 - the record, the marker that aborts it
            await asyncio.sleep(0.2)


async def test_a_broker_that_runs_on_another_port_is_not_started_again(own: Settings) -> None:
    await ensure_broker(own)
    other = own.model_copy(update={"local_broker_port": free_port()})
    with pytest.raises(Unavailable, match=f"set SEGUE_LOCAL_BROKER_PORT={own.local_broker_port}"):
        await ensure_broker(other)


async def test_a_pid_that_now_belongs_to_another_program_is_not_believed(elsewhere: Settings) -> None:
    pid_file = elsewhere.state_dir / "broker/broker.pid"
    pid_file.parent.mkdir(parents=True)
    pid_file.write_text(f"{os.getpid()} 9092\n")
    assert (await broker_status(elsewhere)).pid is None
    assert not await stop_broker(elsewhere)


async def test_a_port_taken_by_another_program_is_named_with_what_to_set(elsewhere: Settings) -> None:
    port = elsewhere.local_broker_port
    taken = pytest.raises(Unavailable, match=f"port {port} is taken .* set SEGUE_LOCAL_BROKER_PORT")
    with socket.create_server(("127.0.0.1", port)), taken:
        await ensure_broker(elsewhere)


async def test_a_port_taken_by_the_broker_of_another_folder_is_told_with_that_folder(
    own: Settings, elsewhere: Settings
) -> None:
    await ensure_broker(own)
    neighbour = elsewhere.model_copy(update={"local_broker_port": own.local_broker_port})
    with pytest.raises(Unavailable, match=f"by the local broker of {own.state_dir}: set SEGUE_STATE_DIR="):
        await ensure_broker(neighbour)


async def test_a_broker_that_dies_while_starting_says_why(elsewhere: Settings) -> None:
    data = elsewhere.state_dir / "broker/data"
    data.mkdir(parents=True)
    (data / "meta.properties").write_text("version=1\ncluster.id=other\nnode.id=7\n")
    with pytest.raises(Unavailable, match=r"(?s)ended with code 1 while starting: its log is .*node id 7"):
        await ensure_broker(elsewhere)
    assert (await broker_status(elsewhere)).pid is None


async def test_a_cluster_that_does_not_answer_is_named_with_what_to_check(elsewhere: Settings) -> None:
    nowhere = elsewhere.model_copy(update={"kafka": f"127.0.0.1:{elsewhere.local_broker_port}"})
    with pytest.raises(Unavailable, match=r"no Kafka answers at SEGUE_KAFKA=127\.0\.0\.1"):
        await ensure_broker(nowhere)


async def test_a_cluster_elsewhere_is_not_ours_to_start_or_stop(settings: Settings) -> None:
    await ensure_broker(settings)
    assert not await stop_broker(settings)
    status = await broker_status(settings)
    assert (status.answers, status.local, status.pid) == (True, False, None)
