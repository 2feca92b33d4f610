"""Records whose headers no Python client would write."""

from typing import Any

from aiokafka.record.default_records import DefaultRecordBatchBuilder

from segue.streams.kafka.aiokafka_internals import _Records, given_values  # pyright: ignore[reportPrivateUsage]


def batch(*names: bytes) -> bytes:
    """One record with a header for each name, which may be any ten bytes."""
    builder: Any = DefaultRecordBatchBuilder(2, 0, 0, -1, -1, 0, 1_000)
    headers = [(f"header-{number:03}", b"x") for number, _ in enumerate(names)]
    builder.append(0, timestamp=None, key=b"k", value=b"v", headers=headers)
    data = bytes(builder.build())
    for number, name in enumerate(names):
        data = data.replace(f"header-{number:03}".encode(), name)
    return data


def test_a_name_that_is_not_utf_8_is_read_with_what_can_be_read_of_it() -> None:
    records: Any = _Records(batch(b"plain-name") + batch(b"\xff-and-this", b"plain-name") + batch())
    read: list[Any] = []
    while records.has_next():
        read += [[name for name, _ in record.headers] for record in records.next_batch()]
    assert read == [["plain-name"], ["\ufffd-and-this", "plain-name"], []]


def test_a_header_without_a_value_has_an_empty_one() -> None:
    assert given_values((("a", b"1"), ("b", None))) == (("a", b"1"), ("b", b""))
