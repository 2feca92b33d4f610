"""The command line as programs see it: output, exit codes, and no stack trace."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from segue.streams.cli import COMMANDS, main

NOBODY = {"SEGUE_KAFKA": "127.0.0.1:9", "NO_COLOR": "1"}
"""Port 9 is the discard service's: nothing listens there."""


COUNTING = """
from segue import App, Task, workflow

@workflow
async def count(task: Task, n: int) -> int:
    return n

app = App("counting", workflows=[count])
"""


def segue(*arguments: str, **env: str) -> Result:
    return CliRunner().invoke(main, arguments, env={**NOBODY, **env})


def test_help_imports_no_command() -> None:
    """It must be there at once: what takes long to import is imported by commands that need it."""
    script = (
        "import sys; from segue.streams.cli import main; main(['--help'], standalone_mode=False); "
        "print([name for name in ('pydantic', 'aiokafka', 'rich', 'faust') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_help(name: str) -> None:
    result = segue(name, "--help")
    assert (result.exit_code, result.output.startswith("Usage: ")) == (0, True)


TELL_NOTHING = {"worker", "completion", "broker", "dead-letters", "keys", "mcp", "ui"}


@pytest.mark.parametrize("name", sorted(COMMANDS.keys() - TELL_NOTHING))
def test_a_command_that_tells_something_tells_it_as_json(name: str) -> None:
    assert "--output" in segue(name, "--help").output


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["tasks"], 4, "no broker answers at 127.0.0.1:9: check that it runs, and SEGUE_KAFKA"),
        (["run", "trip", "Lisbon"], 4, "no broker answers"),
        (["run", "trip", "[1e999]"], 2, "JSON can't hold it: JSON has no NaN and no infinity"),
        (["run", "trip\udced", "Lisbon"], 2, "JSON can't hold it"),
        (["run", "trip", "Lisbon", "--usd", "nan"], 2, "usd: Input should be a finite number"),
        (["budget", "t", "--usd", "inf"], 2, "usd: Input should be a finite number"),
        (["show", "t"], 4, "no broker answers"),
        (["topics"], 4, "no broker answers"),
        (["ui"], 4, "no broker answers"),
        (["dead-letters"], 4, "no broker answers"),
        (
            ["dead-letters", "redrive"],
            2,
            "no dead letters are named: give one of PARTITION:OFFSET, --task TASK or --all",
        ),
        (["dead-letters", "show", "x"], 2, "'x' is not PARTITION:OFFSET"),
        (
            ["topics", "redrive", "tasks", "--from", "noon"],
            2,
            "'noon' is neither an offset (12345) nor an ISO time",
        ),
        (["worker", "nowhere"], 3, "no module 'nowhere' here"),
        (["broker", "stop"], 2, "SEGUE_KAFKA is set (127.0.0.1:9)"),
        (["taks"], 2, "Did you mean 'tasks'?"),
        (["answer", "t"], 2, "Missing argument 'VALUE'"),
    ],
)
def test_an_expected_error_is_one_line_and_an_exit_code(
    arguments: list[str], code: int, message: str
) -> None:
    result = segue(*arguments)
    assert (result.exit_code, result.stdout) == (code, "")
    assert message in result.stderr
    assert "Traceback" not in result.stderr


def test_without_a_broker_of_one_s_own_the_local_one_is_named(tmp_path: Path) -> None:
    result = segue("tasks", SEGUE_KAFKA="", SEGUE_LOCAL_BROKER_PORT="1024", SEGUE_STATE_DIR=str(tmp_path))
    assert result.exit_code == 4
    assert (
        "no broker runs here (looked at 127.0.0.1:1024): start one with `segue broker start`" in result.stderr
    )


def test_the_status_of_a_broker_is_a_document_on_stdout() -> None:
    result = segue("broker", "status", "--output", "json")
    assert (result.exit_code, json.loads(result.stdout)["answers"]) == (4, False)


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_a_shell_s_completion_script_names_the_command(shell: str) -> None:
    result = segue("completion", shell)
    assert (result.exit_code, "_SEGUE_COMPLETE" in result.output) == (0, True)


def test_the_input_is_validated_before_anything_is_sent(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "counting.py").write_text(COUNTING)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    result = segue("run", "count", "many", "--app", "counting.py")
    assert (result.exit_code, result.stderr) == (
        2,
        "segue: the input does not fit workflow 'count': Input should be a valid integer, "
        "unable to parse string as an integer\n",
    )
    assert segue("run", "nothing", "1", "--app", "counting.py").exit_code == 3


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--cron", "61 * * * *"), "schedule 'nightly': Bad minute in '61 * * * *'"),
        (("--cron", "0 3 * * *", "--zone", "Mars"), "no time zone 'Mars'"),
    ],
)
def test_a_schedule_that_is_none_is_refused_before_anything_is_sent(
    arguments: tuple[str, ...], said: str
) -> None:
    done = segue("schedules", "add", "nightly", "report", *arguments)
    assert done.exit_code == 2
    assert said in done.output


def test_the_input_of_a_schedule_is_checked_where_the_app_is_given(tmp_path: Path) -> None:
    (tmp_path / "counting.py").write_text(COUNTING)
    where = ("--cron", "0 3 * * *", "--app", str(tmp_path / "counting.py"))
    done = segue("schedules", "add", "nightly", "count", '"many"', *where)
    assert done.exit_code == 2
    assert "does not fit workflow 'count'" in done.output
