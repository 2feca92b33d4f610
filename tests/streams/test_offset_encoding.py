"""What a commit's metadata says comes back as it was, and takes little."""

import base64
import random
from itertools import accumulate

import pytest
from hypothesis import given
from hypothesis import strategies as st

from segue.streams.kafka.offsets.encoding import METADATA_BYTES_MAX, VERSION, Unfinished, decoded, encoded


def _offsets(first: int, gaps: list[int]) -> list[int]:
    return list(accumulate(gaps, initial=first))


OFFSETS = st.builds(
    _offsets,
    st.integers(0, 2**62),
    st.lists(st.one_of(st.integers(1, 3), st.integers(1, 5000), st.integers(1, 2**50)), max_size=400),
)


@given(OFFSETS, st.integers(1, 2**40))
def test_unfinished_offsets_come_back_as_they_were(offsets: list[int], behind: int) -> None:
    high = offsets[-1] + behind
    assert decoded(offsets[0], encoded(high, offsets).text) == Unfinished(high, offsets)


@given(st.integers(0, 2**63 - 1))
def test_a_partition_without_unfinished_offsets_comes_back(high: int) -> None:
    assert decoded(high, encoded(high, []).text) == Unfinished(high, [])


@given(OFFSETS, st.data())
def test_what_is_left_never_takes_more_than_was_said_before(offsets: list[int], data: st.DataObject) -> None:
    before = encoded(2**63 - 1, offsets)
    left = [offset for offset in offsets if data.draw(st.booleans())] if len(offsets) < 60 else offsets[::2]
    texts = [encoded(2**63 - 1, left, chars_max).text for chars_max in (METADATA_BYTES_MAX, 0)]
    assert min(map(len, texts)) <= (before.bits_max // 8 + 1 + 19 + 2) * 4 // 3 + 4


@given(st.binary(max_size=80))
def test_any_bytes_are_read_or_refused(data: bytes) -> None:
    for form in (data, bytes([VERSION << 6]) + data, bytes([VERSION << 6 | 0x20]) + data):
        found = decoded(1, base64.b64encode(form).decode())
        assert found is None or found.high >= 1


def test_the_first_byte_tells_the_version() -> None:
    metadata = encoded(9, [5, 7]).text
    data = base64.b64decode(metadata)
    assert data[0] >> 6 == VERSION
    of_later = base64.b64encode(bytes([data[0] | 0x80]) + data[1:]).decode()
    assert decoded(5, of_later) is None


def _drawn(count: int, share: float) -> list[int]:
    chance, found, at = random.Random(1), list[int](), 0
    while len(found) < count:
        at += 1
        if chance.random() < share:
            found.append(at)
    return found


@pytest.mark.parametrize(
    ("offsets", "most"),
    [
        (list(range(10_000)), 50),
        (list(range(0, 5_000, 2)), 50),
        ([0, *range(10**7, 10**7 + 10_000)], 60),
        (_drawn(2_500, 0.9), 400),
        (_drawn(2_500, 0.5), 1_050),
        (_drawn(10_000, 0.5), 3_800),
        ([0, *(10**9 + offset for offset in _drawn(2_500, 0.5))], 1_100),
        (_drawn(2_500, 0.1), 2_200),
        (_drawn(2_500, 0.01), 3_600),
    ],
)
def test_metadata_is_small(offsets: list[int], most: int) -> None:
    """In characters, of which a broker takes 4,096."""
    assert len(encoded(offsets[-1] + 1, offsets).text) <= most
