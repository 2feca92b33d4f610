"""Offsets that finish out of order: what is committed, and what a successor reads from it."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from segue.streams.kafka.offset_tracker import (
    METADATA_BYTES_MAX,
    UNFINISHED_MAX,
    Progress,
    committed,
    is_own,
)


def delivered(*offsets: int, start: int = 0) -> Progress:
    progress = Progress(start)
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
    after = Progress(*before.commit())
    again = {o for o in sorted(offsets) if o >= before.commit().offset and after.deliver(o)}
    assert again == offsets - finished
    assert after.commit() == before.commit()


def test_metadata_never_outgrows_what_the_broker_takes() -> None:
    most = range(2**62, 2**62 + UNFINISHED_MAX * 2**34, 2**34)
    progress = delivered(*most, start=2**62)
    assert len(progress.commit().metadata) < METADATA_BYTES_MAX


def test_a_record_that_is_no_longer_on_the_topic_is_not_waited_for() -> None:
    before = delivered(5, 6, 7, start=5)
    before.finish(6)
    after = Progress(*before.commit())
    assert after.deliver(7)
    after.finish(7)
    assert after.commit() == committed(8)


@pytest.mark.parametrize("metadata", ["", "moved by hand", "AA==", committed(6).metadata])
def test_metadata_that_segue_did_not_write_for_this_offset_counts_as_none(metadata: str) -> None:
    assert not is_own(7, metadata)
    assert Progress(7, metadata).commit() == committed(7)


@given(st.lists(st.integers(0, 2**63 - 1), min_size=1, max_size=50, unique=True).map(sorted))
def test_every_commit_is_known_as_our_own(offsets: list[int]) -> None:
    *unfinished, high = offsets
    commit = committed(high, unfinished)
    assert is_own(*commit)
    assert Progress(*commit).commit() == commit


def test_records_that_were_removed_before_they_came_again_are_not_waited_for() -> None:
    before = delivered(5, 6, 7, 8, start=5)
    before.finish(6)
    after = Progress(*before.commit())
    assert after.deliver(5)
    after.pass_over(8)
    assert after.unfinished == 2, "that which came again, and that which is still on the topic"
    after.finish(5)
    assert after.commit().offset == 8
    assert after.deliver(8)


def test_what_was_removed_before_it_was_delivered_is_passed_over() -> None:
    progress = Progress(3)
    progress.pass_over(40)
    assert progress.commit() == committed(40)
    progress.pass_over(10)
    assert progress.commit() == committed(40)
