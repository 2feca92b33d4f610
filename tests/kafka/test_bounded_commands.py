"""Commands that read whole topics hold what they show, and not what they read."""

import asyncio
import json
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import pytest

from segue.streams.client.client import Client
from segue.streams.client.redrive import Copy, Range, each_record, feed
from segue.streams.kafka.broker_clock import now_ms
from segue.streams.kafka.provisioning import provision
from segue.streams.settings import Settings
from segue.topics import codec
from segue.topics.errors import UnknownName
from segue.topics.flow import Received, dead_letter
from segue.topics.records import Status
from tests.kafka.conftest import worker_environment

LETTERS = 160
LETTER_BYTES = 900_000
KB_MAX = 170_000
"""The letters are 144 MB."""


class Ran(NamedTuple):
    said: str
    told: str
    peak_kb: int


MEASURED = """
import os, sys
pid = os.spawnv(os.P_NOWAIT, sys.executable, [sys.executable, *sys.argv[2:]])
_, status, usage = os.wait4(pid, 0)
with open(sys.argv[1], "w") as peak:
    peak.write(str(usage.ru_maxrss))
sys.exit(os.waitstatus_to_exitcode(status))
"""
"""Starts the command from a small process: a peak counts that of the process which it was started from."""


def run(settings: Settings, folder: Path, *command: str, **env: str) -> Ran:
    said, told, peak = folder / "said", folder / "told", folder / "peak"
    with said.open("wb") as out, told.open("wb") as errors:
        process = subprocess.run(
            [sys.executable, "-c", MEASURED, str(peak), "-m", "segue.streams.cli", *command],
            env=worker_environment(settings) | env,
            stdout=out,
            stderr=errors,
            check=False,
        )
    assert process.returncode == 0, told.read_text()
    return Ran(said.read_text(), told.read_text(), int(peak.read_text()))


async def test_many_large_dead_letters_are_listed_and_sent_again_by_a_small_process(
    settings: Settings, tmp_path: Path
) -> None:
    await provision(settings)
    body = b'{"workflow": "w", "pad": "' + b"x" * LETTER_BYTES + b'"}'
    await feed(settings, (large_letter(number, body) for number in range(LETTERS)))
    listed = await asyncio.to_thread(run, settings, tmp_path, "dead-letters", "list", "-n", "10")
    assert "and 150 older: --limit 160" in listed.told
    sent = await asyncio.to_thread(run, settings, tmp_path, "dead-letters", "redrive", "--all", "-o", "json")
    assert json.loads(sent.said) == {"records": LETTERS, "left": 0}
    assert sum([1 async for _ in each_record(settings, Range("tasks"))]) == LETTERS
    fed = await asyncio.to_thread(run, settings, tmp_path, "topics", "redrive", "tasks", "-o", "json")
    assert json.loads(fed.said)["records"] == LETTERS
    again = await asyncio.to_thread(
        run, settings, tmp_path, "topics", "redrive", "tasks", "--dry-run", "-o", "json"
    )
    assert json.loads(again.said)["records"] == LETTERS
    peaks = {"list": listed.peak_kb, "replay --all": sent.peak_kb, "topics redrive": fed.peak_kb}
    assert max(peaks.values()) < KB_MAX, peaks


def large_letter(number: int, body: bytes) -> Copy:
    record = Received("tasks", 0, number, b"t%d" % number, body, (), 0)
    letter = dead_letter(record, "intake", "too much", now_ms())
    return Copy("dead-letters", None, record.key, body, letter.headers)


async def test_tasks_and_usage_count_all_and_keep_the_newest_of_each(
    settings: Settings, tmp_path: Path
) -> None:
    await provision(settings)
    statuses = [status(number, state) for number in range(30) for state in ("running", "succeeded")]
    gone = Copy("status", None, b"t7", None, ())
    unreadable = Copy("status", None, b"t8", b"{}", ())
    await feed(settings, [*statuses, gone, unreadable])
    listed = await asyncio.to_thread(run, settings, tmp_path, "tasks", "-n", "3", "-o", "json")
    assert [each["task"] for each in json.loads(listed.said)] == ["t29", "t28", "t27"]
    assert "the status of task 't8' can't be read and is left out" in listed.told
    shown = await asyncio.to_thread(run, settings, tmp_path, "tasks", "-n", "3", "--state", "succeeded")
    assert "and 25 older: --limit 28" in shown.told
    none = await asyncio.to_thread(run, settings, tmp_path, "tasks", "--state", "running")
    assert "no task matches (28 in all)" in none.told
    usage = await asyncio.to_thread(run, settings, tmp_path, "usage", "-o", "json")
    [row] = json.loads(usage.said)
    assert (row["workflow"], row["tasks"], row["spent"]["calls"]) == ("w", 28, 28)


async def test_many_large_statuses_are_looked_through_by_a_small_process(
    settings: Settings, tmp_path: Path
) -> None:
    await provision(settings)
    await feed(settings, (status(number, "running", "x" * LETTER_BYTES) for number in range(LETTERS)))
    schedules = await asyncio.to_thread(run, settings, tmp_path, "schedules")
    assert "no schedules" in schedules.told
    words = {"_SEGUE_COMPLETE": "bash_complete", "COMP_WORDS": "segue show t1", "COMP_CWORD": "2"}
    completed = await asyncio.to_thread(run, settings, tmp_path, **words)
    assert [line.removeprefix("plain,") for line in completed.said.split()] == [
        f"t{number}" for number in range(LETTERS - 1, LETTERS - 31, -1)
    ]
    shown = await asyncio.to_thread(run, settings, tmp_path, "signal", "t7", "go")
    assert "t7" in shown.said
    peaks = {"schedules": schedules.peak_kb, "completion": completed.peak_kb, "signal": shown.peak_kb}
    print(peaks)
    assert max(peaks.values()) < KB_MAX, peaks


async def test_a_status_that_a_client_no_longer_holds_is_read_again(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("segue.streams.client.status_table.BYTES_MAX", 1_000)
    await provision(settings)
    await feed(settings, [status(number, state) for number in range(30) for state in ("running", "failed")])
    async with Client(settings) as client:
        found = [await client.status(f"t{number}") for number in range(30)]
        assert [(each.task, each.state) for each in found] == [(f"t{n}", "failed") for n in range(30)]
        await feed(settings, [status(3, "succeeded"), Copy("status", None, b"t4", None, ())])
        assert (await client.status("t3")).state == "succeeded"
        with pytest.raises(UnknownName):
            await client.status("t4")


def status(number: int, state: str, view: str | None = None) -> Copy:
    given = {"task": f"t{number}", "workflow": "w", "version": 1, "state": state, "partition": 0, "offset": 0}
    given |= {"spent": {"calls": 1, "usd": 0.1}, "view": view}
    told = Status.model_validate(given | {"started_ms": number, "at_ms": number})
    return Copy("status", None, told.task.encode(), codec.encode(told), (codec.CONTENT_TYPE,))
