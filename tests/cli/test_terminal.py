"""The terminal is a boundary: what comes from outside is text, never a control sequence and never markup."""

import io
import json
import logging
import re
import subprocess
import sys
import unicodedata
from collections.abc import AsyncGenerator, AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from hypothesis import given
from hypothesis import strategies as st

from segue.processors.views.timeline_events import TimelineEvent
from segue.processors.views.token_stream import Piece
from segue.streams import cli
from segue.streams.calls.failures import Redacting
from segue.streams.cli import main, task_ids
from segue.streams.cli.commands import dead_letters, schedules, spending, tasks
from segue.streams.cli.output import emit
from segue.streams.cli.render import Screen
from segue.streams.cli.tables import cut, plain_table
from segue.streams.cli.terminal import Terminal, say
from segue.streams.client.client import Client
from segue.streams.settings import Settings
from segue.streams.text.control_characters import escaped, visible
from segue.topics.flow import Received
from segue.topics.records import Status
from tests.cli.hostile import HOSTILE, LINES, MARKUP, letters, played, statuses

HIDDEN = {"Cc", "Cf", "Cs", "Zl", "Zp"}


def hidden_in(text: str) -> list[str]:
    return [repr(each) for each in text if unicodedata.category(each) in HIDDEN and each not in "\n\t"]


# ---------------------------------------------------------------- one character after the other


@given(st.text(st.characters()))
def test_nothing_hidden_is_left_in_visible_text(text: str) -> None:
    assert not hidden_in(visible(text))
    assert "\n" not in visible(text)
    visible(text).encode()


@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_json_stays_json_and_says_the_same(text: str) -> None:
    written = escaped(json.dumps({"text": text}, ensure_ascii=False))
    assert json.loads(written) == {"text": text}
    assert not hidden_in(written)


@pytest.mark.parametrize("text", ["Casa das Figueiras ★★★★", "Grüße, 你好 שלום สวัสดี", "🏨 ❤️ é", "→ ✓ …"])
def test_what_people_write_stays_as_it_is(text: str) -> None:
    assert visible(text) == text


def test_hidden_characters_are_spelled_out() -> None:
    told = visible("\x1b]52;c;aGk=\x07 \x9b31m \u202eevil \u200b \U000e0041 \ud800 a\nb\tc\r\u3164")
    assert told == (r"\x1b]52;c;aGk=\x07 \x9b31m \u202eevil \u200b \U000e0041 \ud800 a\nb\tc\r\u3164")


# ---------------------------------------------------------------- every command


class Stub(Client):
    """A client whose cluster holds tasks of somebody who means harm."""

    async def statuses(self) -> list[Status]:
        return statuses()

    async def each_status(self) -> AsyncGenerator[Status]:
        for status in statuses():
            yield status

    async def status(self, task: str) -> Status:
        return statuses()[0].model_copy(update={"task": task})

    async def history(self, task: str, run: int | None = None) -> list[Received]:
        return played(task)

    async def follow(self, task: str) -> AsyncIterator[Received]:
        for record in played(task):
            yield record

    async def tokens(self, task: str, after: int | None = None) -> AsyncIterator[Piece]:
        nothing: list[Piece] = []
        for piece in nothing:
            yield piece

    async def start(self, workflow: Any, *_: Any, **__: Any) -> str:
        return f"started {HOSTILE}"

    async def answer(self, *_: Any, **__: Any) -> bool:
        return False

    async def signal(self, *_: Any, **__: Any) -> None: ...

    async def cancel(self, *_: Any, **__: Any) -> None: ...


COMMANDS: list[tuple[str, ...]] = [
    ("tasks",),
    ("show", HOSTILE),
    ("watch", HOSTILE),
    ("run", HOSTILE, HOSTILE, "--id", HOSTILE, "--wait"),
    ("run", HOSTILE),
    ("answer", HOSTILE, HOSTILE, "--step", "0"),
    ("answer", HOSTILE, "1", "--step", "7"),
    ("signal", HOSTILE, HOSTILE),
    ("cancel", HOSTILE),
    ("cancel", HOSTILE, "--reason", HOSTILE, "--force"),
    ("budget", HOSTILE, "--usd", "1"),
    ("usage",),
    ("usage", "--by", "tenant"),
    ("schedules",),
    ("schedules", "pause", HOSTILE),
    ("dead-letters",),
    ("dead-letters", "show", "0:0"),
    ("dead-letters", "show", HOSTILE),
    ("replay", HOSTILE, "--app", "tests.cli.hostile"),
    ("worker", HOSTILE),
    ("topics", "redrive", HOSTILE),
    ("topics", "redrive", "tasks", "--from", HOSTILE),
    ("topics", "acls", "--principal", HOSTILE, "--stages", HOSTILE),
    ("keys", "add", "--file", HOSTILE),
    (HOSTILE,),
    ("show", "--" + HOSTILE),
    ("run", "w", "--priority", HOSTILE),
    ("broker", "stop"),
]


@pytest.fixture(autouse=True)
def _stubbed(monkeypatch: pytest.MonkeyPatch) -> None:
    async def found(*_: Any) -> AsyncGenerator[Received]:
        for letter in letters():
            yield letter

    async def one(*_: Any) -> list[Received]:
        return letters()

    for module in (tasks, spending, schedules):
        monkeypatch.setattr(module, "Client", Stub)
    monkeypatch.setattr("segue.streams.cli.commands.signals.Client", Stub)
    monkeypatch.setattr("segue.streams.cli.commands.replay.Client", Stub)
    monkeypatch.setattr("segue.streams.cli.watching.SETTLED_S", 0.0)
    monkeypatch.setattr(dead_letters, "each_record", found)
    monkeypatch.setattr(dead_letters, "records_of", one)


def segue(*arguments: str) -> Result:
    env = {"SEGUE_KAFKA": "127.0.0.1:9", "SEGUE_STATE_DIR": "/nonexistent/" + "x"}
    return CliRunner().invoke(main, arguments, env=env)


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command[0][:12] + str(len(command)))
@pytest.mark.parametrize("output", ["text", "json"])
def test_no_command_lets_anything_hidden_or_forged_through(command: tuple[str, ...], output: str) -> None:
    takes_json = command[0] in cli.COMMANDS and "--output" in segue(command[0], "--help").output
    json_too = ("-o", "json") if output == "json" and takes_json and len(command) > 0 else ()
    result = segue(*command, *json_too)
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    said = result.stdout + result.stderr
    assert said.strip()
    assert not hidden_in(said)
    assert "[/b]" in said or "forged" not in said, "markup is text"
    if not json_too:
        assert not [line for line in said.splitlines() if line.startswith("FORGED")], "a line of its own"


def test_an_id_that_looks_like_markup_is_listed_as_it_is() -> None:
    said = segue("tasks").stdout
    assert "a[/b] [link=http://evil]x[/link] [red]" in said


# ---------------------------------------------------------------- the doors


@pytest.fixture
def terminal_(monkeypatch: pytest.MonkeyPatch) -> tuple[Terminal, io.StringIO]:
    monkeypatch.delenv("NO_COLOR", raising=False)
    text = io.StringIO()
    return Terminal(file=text, width=200, force_terminal=True, color_system="truecolor"), text


def test_a_terminal_gets_only_colours_of_ours(terminal_: tuple[Terminal, io.StringIO]) -> None:
    console, text = terminal_
    screen = Screen(console)
    screen.note(HOSTILE)
    screen.event(TimelineEvent(0, "tool", HOSTILE, 0, HOSTILE, 1, "failed", 1.0, HOSTILE))
    screen.event(TimelineEvent(0, "ask", HOSTILE, 0, mark="waiting", text=HOSTILE))
    with screen.prompting(HOSTILE):
        pass
    console.print(HOSTILE)
    table = plain_table("A")
    table.add_row(HOSTILE)
    table.add_row(cut(HOSTILE))
    console.print(table)
    left = re.sub(r"\x1b\[[0-9;]*m", "", text.getvalue())
    assert left.count("]52;c;") >= 6
    assert not hidden_in(left)
    assert "]8;" not in left, "no links"


def test_the_log_shows_what_it_is_given_on_lines_that_hang_below_its_entry() -> None:
    def raised() -> Any:
        try:
            raise ValueError(HOSTILE)
        except ValueError:
            return sys.exc_info()

    record = logging.LogRecord("x", logging.ERROR, "", 1, "told %s", (HOSTILE,), raised())
    entry = Redacting("%(levelname)s %(message)s").format(record)
    assert not hidden_in(entry)
    assert [line for line in entry.splitlines() if not line.startswith("  ")] == [entry.splitlines()[0]]


def test_a_bug_of_a_command_shows_its_message_and_hides_nothing() -> None:
    """Also what is logged where no log was set up."""
    script = (
        "import logging, segue.streams.cli as cli\n"
        "from tests.cli.hostile import HOSTILE\n"
        "def breaks(*_):\n    logging.getLogger('x').error(HOSTILE)\n    raise RuntimeError(HOSTILE)\n"
        "cli.Commands.get_command = breaks\n"
        "cli.main(['show', 't'], standalone_mode=True)\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, check=False)
    said = done.stderr.decode()
    assert "RuntimeError" in said
    assert said.count("]52;c;") == 2
    assert not hidden_in(said)


def test_emitted_json_and_sentences_are_shown(capsys: pytest.CaptureFixture[str]) -> None:
    emit({HOSTILE: [HOSTILE]})
    say(HOSTILE)
    say(HOSTILE, err=True)
    said = capsys.readouterr()
    assert json.loads(said.out.splitlines()[0]) == {HOSTILE: [HOSTILE]}
    assert not hidden_in(said.out + said.err)


async def test_a_shell_completes_no_id_that_it_can_not_show(monkeypatch: pytest.MonkeyPatch) -> None:
    def statuses(settings: Settings) -> AsyncGenerator[Status]:
        return Stub(settings).each_status()

    monkeypatch.setattr(task_ids, "each_status", statuses)
    found = await task_ids._newest("")  # pyright: ignore[reportPrivateUsage]
    assert [each.value for each in found] == [MARKUP]
    assert not hidden_in(str(found[0].help))


def test_commands_print_by_no_other_door() -> None:
    """`say`, `Terminal`, `Text` and `emit`; the package itself prints errors, and its version."""
    doors = {"terminal.py", "output.py", "__init__.py"}
    doors_of_others = (r"click\.s?echo\(", r"\bprint\(", r"sys\.std(?:out|err)\.write", r"text import Text$")
    other = re.compile("|".join((*doors_of_others, r"\WConsole\(")), re.MULTILINE)
    found = {
        path.name: other.findall(text)
        for path in Path(cli.__file__).parent.rglob("*.py")
        if path.name not in doors and (text := path.read_text().replace("console.print(", ""))
        if other.search(text)
    }
    assert found == {}


def test_the_corpus_is_hostile() -> None:
    assert {unicodedata.category(each) for each in HOSTILE + LINES} >= {"Cc", "Cf", "Zl"}
