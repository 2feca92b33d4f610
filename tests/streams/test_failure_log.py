"""What failed stands in a worker's log, a line each, and not more than a person reads."""

import logging
import time

import pytest

import segue.streams.observability.failure_log
from segue.streams.observability.failure_log import FailureLog
from segue.topics.flow import Publish, dead_letter
from segue.topics.records import Result, Status
from tests.builders import NOW_MS, call_tool, failure, problem, received

LOST = problem("no room", traceback="Traceback:\n  line 7\n")


def ended(outcome: str) -> Publish:
    facts = {"workflow": "w", "outcome": outcome, "problem": LOST, "started_ms": 1, "at_ms": 2, "steps": 1}
    return Publish("results", "t", Result.model_validate({"task": "t", **facts}))


def parked() -> Publish:
    facts = {"workflow": "w", "version": 1, "partition": 0, "offset": 0, "started_ms": 1, "at_ms": 2}
    status = Status.model_validate({"task": "t", "state": "parked", "problem": problem("changed"), **facts})
    return Publish("status", "t", status)


def attempt(**facts: object) -> Publish:
    return Publish("failures", "t", failure(call_tool(step=3, attempt=2), **facts))


LETTER = dead_letter(received("events", b"{"), "conduct", "not JSON", NOW_MS)


def test_failures_are_told_by_task_and_reason(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    told = FailureLog(sealed=False)
    told.published("conduct", [attempt(), attempt(problem=LOST), ended("failed"), parked(), LETTER])
    assert [(each.levelname, each.message) for each in caplog.records] == [
        ("INFO", "task t: step 3, 'search' by first, attempt 2 failed: no"),
        ("WARNING", "task t: step 3, 'search' by first, attempt 2 failed: no room\nTraceback:\n  line 7"),
        ("WARNING", "task t of 'w' failed: no room\nTraceback:\n  line 7"),
        ("WARNING", "task t of 'w' is parked: changed"),
        ("WARNING", "stage conduct put a record of 't' into the dead letters: not JSON"),
    ]


def test_what_did_not_fail_is_not_told(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    told = FailureLog(sealed=False)
    told.published(
        "conduct", [ended("succeeded"), ended("cancelled"), Publish("tool-calls", "t", call_tool())]
    )
    assert caplog.messages == []


def test_where_records_are_encrypted_the_log_does_not_say_what_they_say(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO)
    FailureLog(sealed=True).published("conduct", [attempt(problem=LOST), ended("failed"), LETTER])
    assert caplog.messages == [
        "task t: step 3, 'search' by first, attempt 2 failed: Retryable",
        "task t of 'w' failed: Retryable",
        "stage conduct put a record of 't' into the dead letters",
    ]


def test_of_many_failures_the_rest_are_counted(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    monkeypatch.setattr(segue.streams.observability.failure_log, "LINES_MAX", 2)
    monkeypatch.setattr(segue.streams.observability.failure_log, "PER_S", 0.3)
    told = FailureLog(sealed=False)
    told.published("tool", [attempt()] * 5)
    assert len(caplog.messages) == 2
    time.sleep(0.3)
    told.published("tool", [attempt()])
    assert caplog.messages[2] == "3 more failures are not logged"
    assert len(caplog.messages) == 4
