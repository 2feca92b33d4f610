"""Where there are keys, what workers write is sealed; in clear it is nobody's word."""

import random
from datetime import UTC, datetime
from pathlib import Path

import pytest

from segue.processors.app.app import App
from segue.processors.stages.conduct import Conduct
from segue.processors.stages.put_aside import put_aside
from segue.streams.client.redrive import back_to_its_topic
from segue.streams.engine.outbox import Outbox
from segue.streams.security.encryption import MAY_BE_CLEAR, Keys, keys_of
from segue.streams.settings import Settings
from segue.topics import codec, contracts
from segue.topics.envelope import Clear, is_sealed
from segue.topics.errors import BadInput, BadRecord
from segue.topics.flow import Decision, Received
from segue.topics.records import StepSucceeded
from tests.builders import failure, received
from tests.driver import Memory
from tests.streams.keyfiles import key_file

WRITTEN_MS = 1_000_000
OUTCOME = StepSucceeded(task="t", step=0, fingerprint="p", result="forged", at_ms=0)
INTERNAL = sorted({topic.name for topic in contracts.ALL if topic.type is not None} - MAY_BE_CLEAR)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return key_file(tmp_path / "keys", "one", acme="acme-1")


def forged(topic: str = "events") -> Received:
    body = OUTCOME if topic == "events" else failure()
    return received(topic, body)._replace(timestamp_ms=WRITTEN_MS)


@pytest.mark.parametrize("topic", INTERNAL)
def test_a_clear_record_on_a_topic_of_workers_is_refused_and_says_what_to_do(file: Path, topic: str) -> None:
    record = Keys(file).opened(forged(topic))
    with pytest.raises(BadRecord, match=r"it is not encrypted, .* set SEGUE_CLEAR_UNTIL"):
        codec.decode(topic, record.value)


def test_of_outsiders_and_about_candidates_clear_records_are_taken(file: Path) -> None:
    assert {"tasks", "signals", "outcomes", "health"} == MAY_BE_CLEAR
    for topic in MAY_BE_CLEAR:
        record = forged(topic)
        assert Keys(file).opened(record) is record


def test_what_was_written_before_all_had_keys_is_taken_by_the_brokers_time(file: Path) -> None:
    until = datetime.fromtimestamp((WRITTEN_MS + 1) / 1000, UTC)
    keys = keys_of(Settings(encryption_keys=file, clear_until=until))
    assert keys is not None
    before, after = forged(), forged()._replace(timestamp_ms=WRITTEN_MS + 1)
    assert keys.opened(before) is before
    assert isinstance(keys.opened(after).value, Clear)


def test_the_time_is_refused_without_keys_or_without_a_zone(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SEGUE_CLEAR_UNTIL", "2026-11-30T18:00:00Z")
    with pytest.raises(BadInput, match="SEGUE_CLEAR_UNTIL has no effect without keys: set"):
        Settings.load()
    monkeypatch.setenv("SEGUE_CLEAR_UNTIL", "2026-11-30T18:00:00")
    with pytest.raises(BadInput, match="SEGUE_CLEAR_UNTIL: Input should have timezone info"):
        Settings.load(encryption_keys=file)


@pytest.mark.parametrize("topic", ["events", "failures", "tool-calls", "delays"])
def test_nothing_follows_from_a_forged_record_but_a_dead_letter(file: Path, topic: str) -> None:
    record = Keys(file).opened(forged(topic))
    [letter] = put_aside(record, "recover", "why", 0).publish
    assert letter.topic == "dead-letters"


def test_conduct_takes_a_forged_outcome_for_nothing(file: Path) -> None:
    stage = Conduct(App("none", workflows=[]), Memory(), random.Random)
    decision = stage.handle(Keys(file).opened(forged()), 0)
    assert [publish.topic for publish in decision.publish] == ["dead-letters"]


def test_its_dead_letter_stays_clear_so_that_a_replay_does_not_make_it_believed(file: Path) -> None:
    keys, settings = Keys(file), Settings(encryption_keys=file)
    record, outbox = keys.opened(forged()), Outbox(settings)
    outbox.add(Decision(put_aside(record, "conduct", "why", 0).publish), record)
    [kept] = outbox.records
    assert not is_sealed(kept.value)
    letter = Received("dead-letters", 0, 0, kept.key, kept.value, tuple(kept.headers), WRITTEN_MS)
    copy = back_to_its_topic(keys.opened(letter))
    value, _ = keys.sealed(copy.topic, copy.key, copy.value, list(copy.headers))
    again = Received(copy.topic, 0, 1, copy.key, value, (), WRITTEN_MS)
    assert isinstance(keys.opened(again).value, Clear)
