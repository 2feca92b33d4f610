"""Offsets that finish out of order: what is committed, and what a successor reads from it."""

import random
from itertools import accumulate

import pytest
from hypothesis import given
from hypothesis import strategies as st

from segue.streams.kafka.offsets.encoding import METADATA_BYTES_MAX
from segue.streams.kafka.offsets.tracker import OffsetTracker, committed, is_own


def delivered(*offsets: int, start: int = 0) -> OffsetTracker:
    progress = OffsetTracker(start)
    for offset in offsets:
        assert progress.deliver(offset)
    return progress


def test_all_finished_commits_the_next_offset_and_nothing_else() -> None:
    progress = delivered(0, 1, 2)
    for offset in (2, 0, 1):
        progress.finish(offset)
    assert progress.commit() == committed(3)


def test_the_lowest_unfinished_offset_is_committed() -> None:
    progress = delivered(0, 1, 2, 3)
    progress.finish(0)
    progress.finish(2)
    assert progress.commit().offset == 1


@given(st.sets(st.integers(0, 2000), max_size=300), st.randoms(use_true_random=False))
def test_a_successor_starts_what_is_unfinished_and_nothing_else(
    offsets: set[int], chance: random.Random
) -> None:
    before = delivered(*sorted(offsets))
    finished = {offset for offset in offsets if chance.random() < 0.5}
    for offset in finished:
        before.finish(offset)
    after = OffsetTracker(*before.commit())
    again = {o for o in sorted(offsets) if o >= before.commit().offset and after.deliver(o)}
    assert again == offsets - finished
    assert after.commit() == before.commit()


@given(
    st.integers(64, METADATA_BYTES_MAX),
    st.lists(st.one_of(st.integers(1, 3), st.integers(1, 2**40)), max_size=1500),
    st.randoms(use_true_random=False),
)
def test_metadata_fits_whichever_of_the_delivered_finish(
    chars_max: int, gaps: list[int], chance: random.Random
) -> None:
    """A record without room is not delivered, and what was delivered may end in any order."""
    progress = OffsetTracker(7, chars_max=chars_max)
    held_back = False
    for offset in accumulate(gaps, initial=7):
        held_back = held_back or not progress.has_room(offset)
        if not held_back:
            progress.deliver(offset)
        if chance.random() < 0.01:
            assert len(progress.commit().metadata) <= chars_max
    open_ = [offset for offset in accumulate(gaps, initial=7) if not progress.done(offset)]
    chance.shuffle(open_)
    while open_:
        for _ in range(chance.randint(1, 1 + len(open_) // 2)):
            progress.finish(open_.pop())
        assert len(progress.commit().metadata) <= chars_max
    assert progress.has_room(10**15), "when all have ended there is room for the next"


def test_ten_thousand_calls_fit_on_one_partition() -> None:
    progress = OffsetTracker(0)
    for offset in range(10_000):
        assert progress.has_room(offset)
        progress.deliver(offset)
    for offset in range(0, 10_000, 3):
        progress.finish(offset)
    assert len(progress.commit().metadata) < METADATA_BYTES_MAX


def test_one_slow_call_leaves_room_for_those_behind_it() -> None:
    """Tens of thousands finish while the first does not: the commit stays small."""
    progress = delivered(0)
    for offset in range(1, 100_000):
        assert progress.has_room(offset)
        progress.deliver(offset)
        if offset > 2_500:
            progress.finish(offset - 2_500)
        if offset % 1_000 == 0:
            assert len(progress.commit().metadata) < 100
    assert progress.commit().offset == 0


def test_room_returns_as_calls_end() -> None:
    progress, chance = OffsetTracker(0, chars_max=128), random.Random(7)
    offset = 0
    while progress.has_room(offset):
        progress.deliver(offset)
        offset += chance.randint(1, 1000)
    assert 20 < progress.unfinished < 80
    for each in list(range(0, offset, 2)):
        progress.finish(each)
    progress.commit()
    assert progress.has_room(offset)


def test_what_was_delivered_before_has_room() -> None:
    """With less metadata than before, calls that a commit tells of are begun again."""
    before = delivered(*range(0, 3_000, 7))
    after = OffsetTracker(*before.commit(), chars_max=64)
    assert all(after.has_room(offset) for offset in range(0, 3_000, 7))
    assert not after.has_room(3_000)


def test_a_record_that_is_no_longer_on_the_topic_is_not_waited_for() -> None:
    before = delivered(5, 6, 7, start=5)
    before.finish(6)
    after = OffsetTracker(*before.commit())
    assert after.deliver(7)
    after.finish(7)
    assert after.commit() == committed(8)


@pytest.mark.parametrize("metadata", ["", "moved by hand", "AA==", "QAc=", "4A==", committed(6).metadata])
def test_metadata_that_segue_did_not_write_for_this_offset_counts_as_none(metadata: str) -> None:
    assert not is_own(7, metadata)
    assert OffsetTracker(7, metadata).commit() == committed(7)


@given(st.lists(st.integers(0, 2**63 - 1), min_size=1, max_size=50, unique=True).map(sorted))
def test_every_commit_is_known_as_our_own(offsets: list[int]) -> None:
    *unfinished, high = offsets
    commit = committed(high, unfinished)
    assert is_own(*commit)
    assert OffsetTracker(*commit).commit() == commit


def test_records_that_were_removed_before_they_came_again_are_not_waited_for() -> None:
    before = delivered(5, 6, 7, 8, start=5)
    before.finish(6)
    after = OffsetTracker(*before.commit())
    assert after.deliver(5)
    after.pass_over(8)
    assert after.unfinished == 2, "that which came again, and that which is still on the topic"
    after.finish(5)
    assert after.commit().offset == 8
    assert after.deliver(8)


def test_what_was_removed_before_it_was_delivered_is_passed_over() -> None:
    progress = OffsetTracker(3)
    progress.pass_over(40)
    assert progress.commit() == committed(40)
    progress.pass_over(10)
    assert progress.commit() == committed(40)
