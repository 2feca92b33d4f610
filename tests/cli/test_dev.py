"""Which workflow `segue dev` runs, and with what."""

from pathlib import Path

import pytest
from click.testing import CliRunner

from segue import App, Task, workflow
from segue.streams.cli import main
from segue.streams.cli.commands.dev import sample_of
from segue.topics.errors import BadInput


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
    with pytest.raises(BadInput, match=f"which workflow.*: {told}"):
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
        ([], "nothing to run: give INPUT, or with --workflow the name of one that takes none"),
        (["7"], "which workflow? Name one with --workflow: count, other"),
    ],
)
def test_what_can_t_run_once_is_told_before_anything_is_started(
    tmp_path: Path, arguments: list[str], told: str
) -> None:
    (tmp_path / "app.py").write_text(COUNTING)
    nobody = {"SEGUE_KAFKA": "127.0.0.1:9"}
    result = CliRunner().invoke(main, ["dev", str(tmp_path), "--once", *arguments], env=nobody)
    assert (result.exit_code, result.stdout) == (2, "")
    assert told in result.stderr
