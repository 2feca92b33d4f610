"""Whatever bytes stand on a topic, its stage decides or makes a dead letter of them, and never raises."""

import random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import TypeAdapter
from pydantic_core import to_json

from segue.processors.stages.conduct import Conduct
from segue.processors.stages.delay import Delays
from segue.processors.stages.intake import Intake
from segue.processors.stages.recover import Recover
from segue.topics.flow import Decision, Received, Stage
from tests.builders import NOW_MS
from tests.corpus import APP, CASES, driver
from tests.driver import Memory

STAGES = {
    "tasks": "intake",
    "signals": "intake",
    "events": "conduct",
    "failures": "recover",
    "delays": "delay",
}
NUMBERS = st.integers() | st.floats(allow_nan=False) | st.just(10**400)
JSON: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | NUMBERS | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)


def stage_of(topic: str) -> Stage:
    match STAGES[topic]:
        case "intake":
            return Intake(APP)
        case "conduct":
            return Conduct(APP, Memory(), random.Random)
        case "recover":
            return Recover(APP)
        case _:
            return Delays(Memory())


def handled(topic: str, value: bytes | None, key: bytes | None = b"t") -> Decision:
    stage = stage_of(topic)
    decision = stage.handle(Received(topic, 0, 0, key, value, (), NOW_MS), NOW_MS)
    if isinstance(stage, Conduct):
        stage.close()
    return decision


def real(topic: str) -> list[dict[str, Any]]:
    """Records as they stood on the topic while the corpus was played."""
    found: list[bytes] = []
    for case in CASES[:25]:
        if case.name != "long":
            found += [record.value or b"" for record in case.play(driver()).logs[topic]]
    return [TypeAdapter(dict[str, Any]).validate_json(value) for value in found]


REAL = {topic: real(topic) for topic in STAGES}


@pytest.mark.parametrize("topic", STAGES)
@given(value=st.binary() | JSON.map(to_json) | st.none(), key=st.none() | st.binary())
def test_bytes_that_are_no_record_are_dead_letters(
    topic: str, value: bytes | None, key: bytes | None
) -> None:
    [letter] = handled(topic, value, key).publish
    assert (letter.topic, letter.value) == ("dead-letters", value or b"")


@pytest.mark.parametrize("topic", STAGES)
@settings(max_examples=150)
@given(data=st.data())
def test_a_record_with_anything_in_its_fields_is_processed_or_a_dead_letter(
    topic: str, data: st.DataObject
) -> None:
    record = dict(data.draw(st.sampled_from(REAL[topic])))
    field = data.draw(st.sampled_from(sorted(record)))
    record[field] = data.draw(JSON)
    handled(topic, to_json(record))
