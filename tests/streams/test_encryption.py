"""Encryption at the boundary: what leaves is sealed, what comes is opened, and what can't be says why."""

import os
from pathlib import Path
from typing import Any

import pytest
from aiokafka.structs import TopicPartition

from segue.streams.engine.outbox import Outbox
from segue.streams.security.encryption import Keys, OpenedState, keys_of
from segue.streams.settings import Settings
from segue.topics import codec
from segue.topics.envelope import MAGIC, Unreadable, is_sealed
from segue.topics.errors import BadInput, BadRecord
from segue.topics.flow import TENANT, Decision, Publish, Received, Write, dead_letter
from segue.topics.records import Result
from tests.builders import received
from tests.driver import Memory
from tests.streams.keyfiles import key, key_file

RESULT = Result(task="t", workflow="w", outcome="succeeded", result="a secret", started_ms=0, at_ms=0)
CHANGELOG = TopicPartition("conduct-state", 0)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return key_file(tmp_path / "keys", "old", "new", acme="acme-1")


def sealed(file: Path | None, *, tenant: str | None = None, prefix: str = "") -> Received:
    """The result as a reader gets it from Kafka."""
    outbox = Outbox(Settings(encryption_keys=file, topic_prefix=prefix))
    outbox.add(Decision([Publish("results", "t", RESULT)], tenant=tenant), None)
    [record] = outbox.records
    return Received("results", 0, 0, record.key, record.value, tuple(record.headers), 0)


def reason(record: Received) -> str:
    with pytest.raises(BadRecord) as caught:
        codec.decode(record.topic, record.value)
    return str(caught.value)


def key_id(record: Received) -> str:
    assert record.value is not None
    return record.value[4 : 4 + record.value[3]].decode()


def test_a_record_is_sealed_and_opened(file: Path) -> None:
    record = sealed(file)
    assert b"secret" not in (record.value or b"")
    assert dict(record.headers)["content-type"] == b"application/vnd.segue.encrypted;of=application/json"
    opened = Keys(file).opened(record)
    assert codec.decode("results", opened.value) == RESULT
    assert opened.headers == (codec.CONTENT_TYPE,)


def test_without_keys_nothing_changes() -> None:
    record = sealed(None, tenant="acme")
    assert record.value == codec.encode(RESULT)
    assert record.headers == (codec.CONTENT_TYPE, (TENANT, b"acme"))


def test_the_newest_key_seals_and_all_open(file: Path, tmp_path: Path) -> None:
    before = sealed(key_file(tmp_path / "before", "old"))
    assert (key_id(before), key_id(sealed(file))) == ("old", "new")
    assert codec.decode("results", Keys(file).opened(before).value) == RESULT


def test_a_tenant_has_keys_of_its_own_and_is_named_in_clear(file: Path, tmp_path: Path) -> None:
    record = sealed(file, tenant="acme")
    assert (key_id(record), key_id(sealed(file, tenant="other"))) == ("acme-1", "new")
    assert dict(record.headers)[TENANT] == b"acme"
    shredded = Keys(key_file(tmp_path / "shredded", "old", "new"))
    assert reason(shredded.opened(record)) == (
        "encrypted with key 'acme-1', which is not in SEGUE_ENCRYPTION_KEYS: add it and redrive"
    )


def test_a_key_that_is_added_to_the_file_is_found_without_a_restart(file: Path) -> None:
    keys = Keys(file)
    record = sealed(key_file(file.with_name("later"), "later"))
    assert isinstance(keys.opened(record).value, Unreadable)
    key_file(file, "old", "new", "later")
    os.utime(file, ns=(1, 1))
    assert codec.decode("results", keys.opened(record).value) == RESULT


@pytest.mark.parametrize("changed", ["topic", "key", "value"])
def test_what_was_moved_or_changed_does_not_open(file: Path, changed: str) -> None:
    record = sealed(file)
    value = record.value or b""
    changes: dict[str, Any] = {"topic": "events", "key": b"u", "value": value[:-1] + bytes([value[-1] ^ 1])}
    told = "which does not open it: it was changed, or moved from another topic or task"
    assert reason(Keys(file).opened(record._replace(**{changed: changes[changed]}))) == (
        f"encrypted with key 'new', {told}"
    )


def test_a_worker_without_keys_says_so(file: Path) -> None:
    assert reason(sealed(file)) == (
        "the value is encrypted with key 'new', but this process has no keys: set SEGUE_ENCRYPTION_KEYS"
    )


@pytest.mark.parametrize("value", [MAGIC, MAGIC + b"\xff", MAGIC + b"\x03new" + b"0" * 20])
def test_what_is_cut_off_says_so(file: Path, value: bytes) -> None:
    record = Keys(file).opened(received("results", value))
    assert reason(record) == "the value begins like an encrypted record, but it is cut off"


def test_clear_records_pass_beside_encrypted_ones(file: Path) -> None:
    clear = received("tasks", b'{"workflow": "w"}')
    assert Keys(file).opened(clear) is clear


def test_a_name_before_the_topics_does_not_bind(file: Path) -> None:
    """A mirrored cluster may name its topics otherwise."""
    assert codec.decode("results", Keys(file).opened(sealed(file, prefix="there.")).value) == RESULT


def test_no_two_records_are_sealed_alike(file: Path) -> None:
    assert len({sealed(file).value for _ in range(100)}) == 100


# ---------------------------------------------------------------- dead letters


def letter_of(record: Received, file: Path) -> Received:
    outbox = Outbox(Settings(encryption_keys=file))
    outbox.add(Decision([dead_letter(record, "conduct", "why", 0)]), record)
    [letter] = outbox.records
    return Received("dead-letters", 0, 0, letter.key, letter.value, tuple(letter.headers), 0)


def test_a_dead_letter_is_sealed_for_its_tenant_and_reads_as_it_came(file: Path) -> None:
    bad = received(
        "tasks", b"no JSON, but a secret", headers=((TENANT, b"acme"), ("content-type", b"text/csv"))
    )
    letter = letter_of(bad, file)
    assert key_id(letter) == "acme-1"
    opened = Keys(file).opened(letter)
    assert opened.value == b"no JSON, but a secret"
    assert dict(opened.headers)["content-type"] == b"text/csv"


def test_what_could_not_be_opened_is_kept_as_it_came_and_opens_once_its_key_is_there(
    file: Path, tmp_path: Path
) -> None:
    record = sealed(file)
    without = key_file(tmp_path / "without", "other")
    letter = letter_of(Keys(without).opened(record), without)
    assert letter.value == record.value
    assert codec.decode("results", Keys(file).opened(letter).value) == RESULT


# ---------------------------------------------------------------- state


def test_state_is_sealed_for_the_tasks_tenant_whoever_caused_the_change(file: Path) -> None:
    outbox = Outbox(Settings(encryption_keys=file))
    answer = received("events", b"{}", headers=((TENANT, b"other"),))
    written = outbox.add(Decision(write=[Write(b"J", b"a secret")], tenant="acme"), answer, CHANGELOG)
    [record] = outbox.records
    assert written == [Write(record.key or b"", record.value)]
    assert b"secret" not in (record.value or b"")
    assert (record.value or b"")[4:10] == b"acme-1"
    memory = Memory()
    memory.apply([*written, Write(b"E", b"")])
    state = OpenedState(Keys(file), "conduct-state", memory)
    assert (state.get(b"J"), state.get(b"E"), state.get(b"X")) == (b"a secret", b"", None)
    assert list(state.scan(b"")) == [(b"E", b""), (b"J", b"a secret")]
    assert is_sealed(OpenedState(Keys(file), "delay-state", memory).get(b"J"))


# ---------------------------------------------------------------- the file


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ("{}", "keys: Field required"),
        ('{"keys": {}}', "keys: Dictionary should have at least 1 item"),
        ('{"keys": {"a": "c2hvcnQ="}}', "keys.a: Value should have at least 32 items"),
        (
            f'{{"keys": {{"a": "{key(1)}"}}, "tenants": {{"t": {{"a": "{key(2)}"}}}}}}',
            "these are used twice: a",
        ),
        ("no JSON", "Invalid JSON"),
    ],
)
def test_a_file_that_does_not_fit_says_how_and_shows_no_key(tmp_path: Path, content: str, told: str) -> None:
    path = tmp_path / "keys"
    path.write_text(content)
    with pytest.raises(BadInput, match="SEGUE_ENCRYPTION_KEYS") as caught:
        keys_of(Settings(encryption_keys=path))
    assert told in str(caught.value)
    assert not any(secret in str(caught.value) for secret in ("c2hvcnQ=", key(1), key(2)))
