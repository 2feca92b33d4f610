"""Dead letters are read a page at a time, backwards from the end, and kept cut."""

from collections.abc import Callable
from typing import Any

import pytest
from aiokafka import AIOKafkaProducer

from segue.streams.client import newest_records as reading
from segue.streams.kafka.provisioning import provision
from segue.streams.kafka.reader import Reader
from segue.streams.settings import Settings
from segue.streams.ui.dead_letters import LETTERS_MAX, DeadLetterPage, DeadLetterTable
from segue.streams.ui.rendering import VALUE_CHARS_MAX

LETTERS = 3 * LETTERS_MAX + 7


async def produce(settings: Settings, names: range, size: int = 10) -> None:
    """One transaction for every five, each of which ends with a record that nobody is handed."""
    producer: Any = AIOKafkaProducer(
        **settings.client_options(), transactional_id=f"{settings.topic_prefix}letters"
    )
    await producer.start()
    for first in range(names.start, names.stop, 5):
        async with producer.transaction():
            for name in range(first, min(first + 5, names.stop)):
                reason = [("segue-reason", str(name).encode())]
                value, key = b"x" * size, f"t{name}".encode()
                await producer.send_and_wait(
                    settings.topic("dead-letters"), value, key=key, headers=reason, partition=name % 2
                )
    await producer.stop()


def names(found: DeadLetterPage) -> list[int]:
    return [int(letter["reason"]) for letter in found.letters]


async def pages(table: DeadLetterTable) -> list[list[int]]:
    found = await table.look(None)
    turned = [names(found)]
    while found.older is not None:
        found = await table.look(found.older)
        turned.append(names(found))
    return turned


async def test_every_letter_is_on_one_page_the_newest_first(settings: Settings) -> None:
    await provision(settings)
    table = DeadLetterTable(settings)
    assert await table.look(None) == DeadLetterPage([])
    await produce(settings, range(LETTERS))
    turned = await pages(table)
    assert [len(page) for page in turned] == [LETTERS_MAX] * 3 + [7]
    assert sorted(name for page in turned for name in page) == list(range(LETTERS))
    for parity in (0, 1):  # times may be equal between partitions
        found = [name for page in turned for name in page if name % 2 == parity]
        assert found == sorted(found, reverse=True)
    await produce(settings, range(LETTERS, LETTERS + 3))
    assert sorted(names(await table.look(None)), reverse=True)[:3] == [LETTERS + 2, LETTERS + 1, LETTERS]
    await table.close()


async def test_a_letter_is_read_once_and_kept_cut(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    await provision(settings)
    await produce(settings, range(6), size=900_000)
    read: list[int] = []
    received: Callable[[Reader, Any], Any] = vars(Reader)["_received"]

    def counted(self: Reader, record: Any) -> Any:
        read.append(record.offset)
        return received(self, record)

    monkeypatch.setattr(Reader, "_received", counted)
    table = DeadLetterTable(settings)
    looks = [await table.look(None) for _ in range(3)]
    await table.close()
    assert len(read) == 6
    assert looks[0] == looks[2]
    assert [len(letter["value"]) < 2 * VALUE_CHARS_MAX for letter in looks[0].letters] == [True] * 6
    assert looks[0].letters[0]["value"].endswith(f"\n… {900_000 - VALUE_CHARS_MAX:,} bytes more")


async def test_of_a_large_topic_only_the_end_is_read(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    await provision(settings)
    await produce(settings, range(400))
    async with Reader(settings) as reader:
        places = reader.partitions("dead-letters")
        firsts, ends = await reader.beginnings(places), await reader.ends(places)
        read: list[int] = []
        found = await reading.newest(reader, firsts, ends, 5, lambda record: read.append(record.offset))
    assert len(found) == 5
    assert len(read) <= 4 * reading.WINDOW_MIN
