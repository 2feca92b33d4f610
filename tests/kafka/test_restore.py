"""Restoring on a real broker: what a checkpoint is worth, and who waits for whom."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing, closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from aiokafka import AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient

from segue.streams.kafka.provisioning import provision
from segue.streams.security.encryption import keys_of
from segue.streams.settings import Settings
from segue.streams.state.restore import open_restored
from tests.streams.keyfiles import key_file

CHANGELOG = "conduct-state"


@pytest_asyncio.fixture
async def changelog(settings: Settings) -> AsyncGenerator[Settings]:
    await provision(settings)
    yield settings


async def put(settings: Settings, partition: int, *entries: tuple[bytes, bytes | None]) -> None:
    async with AIOKafkaProducer(bootstrap_servers=settings.bootstrap) as producer:
        for key, value in entries:
            await producer.send(  # pyright: ignore[reportUnknownMemberType]
                settings.topic(CHANGELOG), value, key, partition=partition
            )


Restored = list[tuple[int, dict[bytes, bytes]]]


async def restored(settings: Settings, path: Path, partitions: int = 2) -> Restored:
    """Partitions and their entries, in the order in which they were whole."""
    paths = {number: path / str(number) for number in range(partitions)}
    found: Restored = []
    async for number, store in open_restored(settings, CHANGELOG, paths):
        with closing(store):
            found.append((number, dict(store.scan(b""))))
    return found


def rebuilt(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if "rebuilt" in record.getMessage()]


async def test_the_partition_with_the_least_to_read_is_served_first(
    changelog: Settings, tmp_path: Path
) -> None:
    await put(changelog, 0, *[(b"%d" % n, b"v") for n in range(20)])
    await put(changelog, 1, (b"k", b"v"), (b"gone", b"v"), (b"gone", None))
    expected = [(1, {b"k": b"v"}), (0, {b"%d" % n: b"v" for n in range(20)})]
    assert await restored(changelog, tmp_path) == expected


async def test_a_partition_that_an_open_transaction_holds_back_holds_back_no_other(
    changelog: Settings, tmp_path: Path
) -> None:
    await put(changelog, 1, *[(b"%d" % n, b"v") for n in range(20)])
    producer: Any = AIOKafkaProducer(
        **changelog.client_options(), transactional_id=f"{changelog.topic_prefix}open"
    )
    await producer.start()
    await producer.begin_transaction()
    await producer.send_and_wait(changelog.topic(CHANGELOG), b"v", b"k", partition=0)
    paths = {number: tmp_path / str(number) for number in range(2)}
    async with aclosing(open_restored(changelog, CHANGELOG, paths)) as opening:
        order: list[int] = []
        async for number, store in opening:
            with closing(store):
                order.append(number)
            if number == 1:
                await producer.commit_transaction()
    await producer.stop()
    assert order == [1, 0]


async def test_a_checkpoint_is_taken_up_again(
    changelog: Settings, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    await restored(changelog, tmp_path)
    await put(changelog, 0, (b"k", b"1"))
    await restored(changelog, tmp_path)
    await put(changelog, 0, (b"l", b"2"))
    assert dict(await restored(changelog, tmp_path)) == {0: {b"k": b"1", b"l": b"2"}, 1: {}}
    assert rebuilt(caplog) == []


async def test_a_checkpoint_of_a_topic_that_was_deleted_and_made_again_is_not(
    changelog: Settings, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The new one has as many records: by its offset alone the checkpoint would seem to be whole."""
    await put(changelog, 0, (b"old", b"1"))
    await restored(changelog, tmp_path, partitions=1)
    admin: Any = AIOKafkaAdminClient(**changelog.client_options())
    await admin.start()
    await admin.delete_topics([changelog.topic(CHANGELOG)])
    await admin.close()
    await asyncio.sleep(0.5)
    await provision(changelog)
    await put(changelog, 0, (b"new", b"1"))
    assert await restored(changelog, tmp_path, partitions=1) == [(0, {b"new": b"1"})]
    assert ["is that of another topic" in message for message in rebuilt(caplog)] == [True]


async def test_an_entry_in_clear_is_left_out_where_keys_are_set(
    changelog: Settings, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """It may be forged; what holds nothing of a record is never sealed, and what is from before was not."""
    sealing = changelog.model_copy(update={"encryption_keys": key_file(tmp_path / "keys", "one")})
    keys = keys_of(sealing)
    assert keys is not None
    sealed = keys.seal(CHANGELOG, b"Jt\0", b"true", None)
    await put(changelog, 0, (b"Jt\0", sealed), (b"Jt\0", b"forged"), (b"Ju\0", b"forged"), (b"Bt", b""))
    await put(changelog, 1, (b"Bu", b""), (b"gone", sealed), (b"gone", None))
    expected = {0: {b"Jt\0": sealed, b"Bt": b""}, 1: {b"Bu": b""}}
    assert dict(await restored(sealing, tmp_path / "a")) == expected
    [told] = [record.getMessage() for record in caplog.records if "is left out" in record.getMessage()]
    assert "set SEGUE_CLEAR_UNTIL of all workers" in told
    until = sealing.model_copy(update={"clear_until": datetime.now(UTC) + timedelta(hours=1)})
    assert dict(await restored(until, tmp_path / "b"))[0][b"Ju\0"] == b"forged"
