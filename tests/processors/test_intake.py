"""Stage intake: what comes from outside becomes an event or a dead letter, and never stops the stage."""

from typing import Any

import pytest
from pydantic import BaseModel, field_validator
from pydantic_core import to_json

from segue import App, Task, workflow
from segue.processors.stages.intake import Intake
from segue.topics.flow import Decision, Headers, Publish
from segue.topics.records import (
    Answer,
    Answered,
    Cancel,
    CancelRequested,
    Origin,
    Problem,
    Rejected,
    Signal,
    SignalReceived,
    Submitted,
)
from tests.builders import NOW_MS, published, reason, received


class Trip(BaseModel):
    place: str
    nights: int = 1

    @field_validator("place")
    @classmethod
    def must_be_known(cls, place: str) -> str:
        return {"Faro": "Faro", "Porto": "Porto"}[place]  # a KeyError is a mistake in the user's validator


@workflow
async def book(task: Task, trip: Trip) -> None: ...


@workflow(name="book", version=2)
async def book_again(task: Task, trip: Trip) -> None: ...


@workflow
async def idle(task: Task) -> None: ...


INTAKE = Intake(App("travel", workflows=[book, book_again, idle]))
HERE = Origin(topic="tasks", partition=0, offset=7)
FARO = {"place": "Faro"}


def tasks(value: Any, key: bytes | None = b"t", headers: Headers = ()) -> Decision:
    body = value if isinstance(value, bytes) or value is None else to_json(value)
    return INTAKE.handle(received("tasks", body, key, headers), NOW_MS)


def begun(task: str = "t", version: int = 2) -> Decision:
    facts: dict[str, Any] = {"task": task, "workflow": "book", "version": version, "origin": HERE}
    event = Submitted(**facts, input=FARO | {"nights": 1}, validated=True, at_ms=NOW_MS)
    return Decision([Publish("events", task, event)])


# ---------------------------------------------------------------- it happens


def test_a_request_is_submitted_under_its_key_with_the_newest_version() -> None:
    assert tasks({"workflow": "book", "input": FARO}) == begun()


def test_a_request_is_submitted_under_its_own_id_rather_than_the_key() -> None:
    assert tasks({"workflow": "book", "input": FARO, "id": "mine"}) == begun("mine")


def test_a_request_may_name_the_version() -> None:
    assert tasks({"workflow": "book", "input": FARO, "version": 1}) == begun(version=1)


def test_a_structured_cloud_event_is_a_request() -> None:
    event = {"specversion": "1.0", "type": "book", "source": "/shop", "id": "e1", "data": FARO}
    kind = (("content-type", b"application/cloudevents+json"),)
    assert tasks(event, key=None, headers=kind) == begun("e1")
    assert tasks(event, key=None) == begun("e1"), "also where its content type was lost"


def test_a_binary_cloud_event_is_a_request() -> None:
    facts = {"ce_specversion": "1.0", "ce_type": "book", "ce_source": "/shop", "ce_id": "e1"}
    headers = tuple((name, value.encode()) for name, value in facts.items())
    assert tasks(FARO, key=None, headers=(*headers, ("content-type", b"application/json"))) == begun("e1")


def test_signals_become_events_with_their_origin() -> None:
    origin = Origin(topic="signals", partition=0, offset=7)
    facts: dict[str, Any] = {"task": "t", "id": "i", "origin": origin, "at_ms": NOW_MS}
    expected = [
        (Answer(task="t", id="i", step=3, value=1, by="ada"), Answered(step=3, value=1, by="ada", **facts)),
        (Signal(task="t", id="i", name="go", value=2), SignalReceived(name="go", value=2, **facts)),
        (Cancel(task="t", id="i", reason="no"), CancelRequested(reason="no", **facts)),
    ]
    for signal, event in expected:
        decision = INTAKE.handle(received("signals", signal), NOW_MS)
        assert decision == Decision([Publish("events", "t", event)])


# ---------------------------------------------------------------- it has already happened


def test_a_redelivered_request_is_the_same_event() -> None:
    assert tasks({"workflow": "book", "input": FARO}) == tasks({"workflow": "book", "input": FARO})


def test_a_signal_without_an_id_is_known_by_where_it_stood() -> None:
    again = [INTAKE.handle(received("signals", Signal(task="t", name="go")), NOW_MS) for _ in range(2)]
    assert [published(decision, "events")[0].id for decision in again] == ["signals/0/7"] * 2


# ---------------------------------------------------------------- it must not happen


@pytest.mark.parametrize(
    ("request_", "why"),
    [
        ({"workflow": "fly"}, "this app has no workflow 'fly'; it has: book, idle"),
        ({"workflow": "book", "version": 9}, "this app has no version 9 of workflow 'book'; it has: [1, 2]"),
        (
            {"workflow": "book", "input": {"nights": "x"}},
            "the input does not fit workflow 'book': place: Field required; nights: Input should be a "
            "valid integer, unable to parse string as an integer",
        ),
        (
            {"workflow": "book", "input": {"place": "Oz"}},
            "the input does not fit workflow 'book': can't be read: KeyError: 'Oz'",
        ),
    ],
)
def test_a_request_that_cannot_start_is_rejected_and_kept(request_: dict[str, Any], why: str) -> None:
    decision = tasks(request_)
    refusal = Problem(type="BadInput", message=why, retryable=False)
    rejected = Rejected(task="t", workflow=request_["workflow"], problem=refusal, origin=HERE, at_ms=NOW_MS)
    [event, letter] = decision.publish
    assert event == Publish("events", "t", rejected)
    assert (letter.topic, letter.key, letter.value, reason(letter)) == (
        "dead-letters",
        "t",
        to_json(request_),
        why,
    )
    assert dict(letter.headers)["segue-task"] == b"t"


@pytest.mark.parametrize(
    ("value", "why"),
    [
        (b'{"workflow": ', "not JSON: "),
        (b"\xff\xfe", "not UTF-8: byte 0xff at 0"),
        (None, "the record has no value; to cancel a task, send a cancel signal"),
        (b"[" * 5000, "lists and objects are nested deeper than 100"),
        (b'{"workflow": "book", "' + b"x" * 5000 + b'": 1}', "more characters)"),
        (b"[]", "not a record of 'tasks': "),
        (b'{"workflow": "book", "v": 2}', "version 2 is newer than 1, the newest that this worker reads"),
        (b'{"workflow": "book", "colour": 1}', "not a record of 'tasks': colour: Extra inputs"),
        (b'"' + b"x" * 900_000 + b'"', "900002 bytes are more than 900000 (payload_bytes_max)"),
        (b'{"specversion": "1.0"}', "not a CloudEvent: "),
        (b'{"specversion": "1.0", "id": "\\ud800", "source": "/", "type": "book"}', "not a CloudEvent: "),
        (b'{"specversion": "1.0", "id": "", "source": "/", "type": "book"}', "a"),
    ],
)
def test_what_is_no_request_is_a_dead_letter_with_its_bytes(value: bytes | None, why: str) -> None:
    [letter] = tasks(value).publish
    assert (letter.topic, letter.key, letter.value) == ("dead-letters", "t", value or b"")
    assert why in reason(letter)


@pytest.mark.parametrize("key", [None, b"", b"\xff", b"a\x00b", b"x" * 201])
def test_a_request_without_a_usable_key_or_id_is_a_dead_letter(key: bytes | None) -> None:
    [letter] = tasks({"workflow": "idle"}, key).publish
    assert letter.topic == "dead-letters"
    assert "key" in reason(letter)


def test_a_binary_cloud_event_without_an_id_is_a_dead_letter() -> None:
    [letter] = tasks(FARO, headers=(("ce_specversion", b"1.0"), ("ce_type", b"book"))).publish
    assert reason(letter).startswith("not a CloudEvent: ")


def test_a_signal_that_is_none_is_a_dead_letter() -> None:
    for value in (b"{}", b'{"kind": "shout", "task": "t"}', b'{"kind": "cancel", "task": ""}', None):
        [letter] = INTAKE.handle(received("signals", value), NOW_MS).publish
        assert letter.topic == "dead-letters"


# ---------------------------------------------------------------- what Python reads, and JSON has not


@pytest.mark.parametrize("number", [b"NaN", b"-Infinity", b"1e999"])
@pytest.mark.parametrize(
    ("topic", "record"),
    [
        ("tasks", b'{"workflow": "idle", "input": {"limit": %b}}'),
        ("signals", b'{"kind": "answer", "task": "t", "value": [%b]}'),
        ("signals", b'{"kind": "signal", "task": "t", "name": "go", "value": %b}'),
    ],
)
def test_what_is_no_number_is_a_dead_letter_and_never_null(topic: str, record: bytes, number: bytes) -> None:
    [*_, letter] = INTAKE.handle(received(topic, record % number), NOW_MS).publish
    assert letter.topic == "dead-letters"
    assert reason(letter).endswith("JSON has no NaN and no infinity, so give None or text")


def test_text_that_speaks_of_no_numbers_is_text() -> None:
    said = {"kind": "signal", "task": "t", "name": "go", "value": 'Infinity, said as \\ or " NaN'}
    [event] = INTAKE.handle(received("signals", to_json(said)), NOW_MS).publish
    assert event.topic == "events"
