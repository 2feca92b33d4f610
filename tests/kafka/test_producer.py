"""Batches and transactions on a real broker, in the older and the newer protocol of transactions."""

import asyncio
from collections.abc import AsyncGenerator

import pytest
import pytest_asyncio
from aiokafka.client import AIOKafkaClient
from aiokafka.errors import KafkaError, MessageSizeTooLargeError, RequestTimedOutError
from aiokafka.structs import OffsetAndMetadata, TopicPartition

import segue.streams.kafka.producer
from segue.streams.kafka import protocol
from segue.streams.kafka.broker_clock import now_ms
from segue.streams.kafka.producer import Producer
from segue.streams.kafka.protocol import Membership
from segue.streams.kafka.provisioning import provision
from segue.streams.kafka.record_batches import BATCH_BYTES_MAX, Outgoing
from segue.streams.settings import Settings
from tests.kafka.engine import read


@pytest.fixture(params=["version 1", "version 2"])
def cluster(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, settings: Settings) -> Settings:
    """The broker speaks both; to the first it is a cluster that has not switched on the second."""
    if request.param == "version 1":
        monkeypatch.setattr(protocol, "joins", _never)
    return settings


def _never(_: object) -> bool:
    return False


@pytest_asyncio.fixture
async def producer(cluster: Settings) -> AsyncGenerator[Producer]:
    await provision(cluster)
    producer = Producer(cluster, "writer")
    await producer.start()
    yield producer
    await producer.close()


def record(settings: Settings, text: str, topic: str = "results", partition: int = 0) -> Outgoing:
    return Outgoing(TopicPartition(settings.topic(topic), partition), b"k", text.encode(), [])


def nobody(settings: Settings) -> Membership:
    """A group without members takes offsets from anybody."""
    return Membership(settings.group("nobody"), -1, "")


def offsets(settings: Settings, offset: int) -> dict[TopicPartition, OffsetAndMetadata]:
    return {TopicPartition(settings.topic("tasks"), 0): OffsetAndMetadata(offset, "")}


async def texts(settings: Settings, topic: str = "results", partition: int = 0) -> list[str]:
    return [(each.value or b"").decode() for each in await read(settings, topic, partition, quiet_s=0.5)]


async def test_transactions_one_after_the_other_are_all_read_in_order(
    cluster: Settings, producer: Producer
) -> None:
    for number in range(20):
        both = [record(cluster, str(number)), record(cluster, str(number), "status", 1)]
        ends = await producer.transact(both, offsets(cluster, number), nobody(cluster), now_ms())
        assert ends.keys() == {each.to for each in both}
    assert await texts(cluster) == await texts(cluster, "status", 1) == [str(n) for n in range(20)]


async def test_of_a_transaction_that_failed_nothing_is_read_and_the_next_producer_goes_on(
    cluster: Settings, producer: Producer
) -> None:
    await producer.transact([record(cluster, "before")], {}, nobody(cluster), now_ms())
    failing = [record(cluster, "half", "status"), record(cluster, "x" * 2_000_000)]
    with pytest.raises(MessageSizeTooLargeError, match="results"):
        await producer.transact(failing, offsets(cluster, 1), nobody(cluster), now_ms())
    successor = Producer(cluster, "writer")
    await successor.start()
    await successor.transact([record(cluster, "after")], offsets(cluster, 2), nobody(cluster), now_ms())
    await successor.close()
    assert (await texts(cluster), await texts(cluster, "status")) == (["before", "after"], [])


async def test_a_producer_whose_identity_was_taken_writes_nothing_more(
    cluster: Settings, producer: Producer
) -> None:
    successor = Producer(cluster, "writer")
    await successor.start()
    await successor.close()
    for _ in range(2):
        with pytest.raises(KafkaError):
            await producer.transact([record(cluster, "late")], offsets(cluster, 1), nobody(cluster), now_ms())
    assert await texts(cluster) == []


async def test_more_than_a_batch_for_one_partition_keeps_its_order(
    cluster: Settings, producer: Producer
) -> None:
    sent = [record(cluster, f"{number}" + "x" * (BATCH_BYTES_MAX // 3)) for number in range(8)]
    ends = await producer.transact(sent, {}, nobody(cluster), now_ms())
    assert await texts(cluster) == [(each.value or b"").decode() for each in sent]
    assert ends == {sent[0].to: len(sent)}


async def test_a_commit_that_kafka_never_ends_is_given_up(
    cluster: Settings, producer: Producer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A stage that waits for ever is one that nobody serves, and nobody is told of."""
    monkeypatch.setattr(segue.streams.kafka.producer, "WHOLE_S_MAX", 0.2)
    monkeypatch.setattr(AIOKafkaClient, "set_topics", _for_ever)
    with pytest.raises(RequestTimedOutError, match="could not commit"):
        await producer.transact([record(cluster, "late")], {}, nobody(cluster), now_ms())


def _for_ever(*_: object) -> "asyncio.Future[None]":
    return asyncio.get_running_loop().create_future()


async def test_offsets_alone_are_a_transaction_and_nothing_is_none(
    cluster: Settings, producer: Producer
) -> None:
    assert await producer.transact([], offsets(cluster, 5), nobody(cluster), now_ms()) == {}
    assert await producer.transact([], {}, nobody(cluster), now_ms()) == {}


async def test_records_without_a_transaction_are_there_at_once(settings: Settings) -> None:
    await provision(settings)
    producer = Producer(settings)
    await producer.start()
    for number in range(3):
        ends = await producer.write([record(settings, str(number))], now_ms())
        assert ends == {TopicPartition(settings.topic("results"), 0): number + 1}
    await producer.close()
    assert await texts(settings) == ["0", "1", "2"]
