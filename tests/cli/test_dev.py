"""Which workflow `segue dev` runs, and with what."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from segue import App, Task, workflow
from segue.processors.app.schedules import KEEPER
from segue.processors.tasks.resumption import Resumed
from segue.streams.cli import main
from segue.streams.cli.commands.dev import RESUMED_MAX, LeftOpen, first_resumed, left_open, sample_of
from segue.topics.errors import BadInput
from segue.topics.records import OpenState, Outcome, Status


@workflow
async def one(task: Task, text: str) -> str:
    return text


@workflow
async def other(task: Task, text: str) -> str:
    return text


def test_the_app_s_only_workflow_needs_no_name() -> None:
    assert sample_of(App("a", workflows=[one]), None, "hello") == ("one", "hello")


@pytest.mark.parametrize(("workflows", "told"), [([one, other], "one, other"), ([], "the app has none")])
def test_where_there_is_a_choice_it_is_asked_for(workflows: list[object], told: str) -> None:
    with pytest.raises(BadInput, match=f"no workflow is named.*: {told}"):
        sample_of(App("a", workflows=workflows), None, "hello")  # type: ignore[arg-type]


def test_a_name_decides_also_beside_a_sample() -> None:
    app = App("a", workflows=[one, other], sample=(one, "from the app"))
    assert sample_of(app, "other", "7") == ("other", 7)
    assert sample_of(app, None, None) == ("one", "from the app")
    assert sample_of(app, None, "mine") == ("one", "mine")


COUNTING = """
from segue import App, Task, workflow

@workflow
async def count(task: Task, n: int) -> int:
    return n

@workflow
async def other(task: Task) -> None: ...

app = App("counting", workflows=[count, other])
"""


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--workflow", "count", "many"], "the input does not fit workflow 'count'"),
        (["--workflow", "count"], "the input does not fit workflow 'count'"),
        ([], "no task to run: give INPUT, or name a workflow that takes no input with --workflow"),
        (["7"], "no workflow is named: use --workflow: count, other"),
    ],
)
def test_what_can_t_run_once_is_told_before_anything_is_started(
    tmp_path: Path, arguments: list[str], told: str
) -> None:
    (tmp_path / "app.py").write_text(COUNTING)
    nobody = {"SEGUE_KAFKA": "127.0.0.1:9"}
    result = CliRunner().invoke(main, ["dev", str(tmp_path), "--exit-when-done", *arguments], env=nobody)
    assert (result.exit_code, result.stdout) == (2, "")
    assert told in result.stderr


def status(task: str, workflow: str, started_ms: int, state: OpenState | Outcome = "running") -> Status:
    where: dict[str, Any] = {"version": 1, "partition": 0, "offset": 0, "at_ms": started_ms}
    return Status(task=task, workflow=workflow, state=state, started_ms=started_ms, **where)


async def each(*statuses: Status) -> AsyncIterator[Status]:
    for one in statuses:
        yield one


async def test_the_newest_open_task_of_the_sample_s_workflow_goes_on() -> None:
    open_ = [
        status("a", "one", 1),
        status("d", "one", 9, "succeeded"),
        status("b", "one", 3, "parked"),
        status("c", "other", 5),
        status("schedule/nightly", KEEPER, 7),
    ]
    assert await left_open(each(*open_), "one") == LeftOpen(3, "c", "b")
    assert await left_open(each(*open_), None) == LeftOpen(3, "c", None)
    assert await left_open(each(), "one") == LeftOpen(0, "", None)


def test_what_is_left_open_is_said_in_one_line() -> None:
    assert LeftOpen(1, "a", "a").in_words.startswith("task a goes on; `")
    assert LeftOpen(3, "c", "a").in_words.startswith("task a goes on, and 2 others (`")
    assert LeftOpen(1, "a", None).in_words.startswith("task a goes on: ")
    assert LeftOpen(9, "a", None).in_words.startswith("9 tasks go on: ")


def test_of_many_tasks_that_resume_a_few_are_named_once_each() -> None:
    noted: list[str] = []
    report = first_resumed(noted.append)
    report(Resumed("schedule/nightly", KEEPER, 1, "timer"))
    for number in range(1000):
        report(Resumed(f"t{number // 2}", "one", 2, "tool say"))
    assert noted == [f"task t{number} resumed at step 2: tool say" for number in range(RESUMED_MAX)]
