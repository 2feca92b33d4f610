"""How failures are told: where their code raised, in lines, and of which type they are, once."""

import io

from rich.console import Console

from segue.processors.views.timeline import Timeline
from segue.streams.calls.failures import problem_of
from segue.streams.cli.render import Screen
from segue.streams.client.dead_letters import traceback_of
from segue.topics.codec import encode
from segue.topics.records import Problem
from tests.builders import failure


def test_where_a_tool_raised_is_told_in_lines() -> None:
    try:
        raise KeyError("rooms")
    except KeyError as error:
        value = encode(failure(problem=problem_of(error)))
    told = traceback_of("failures", value)
    assert told is not None
    assert told.splitlines()[-1] == "KeyError: 'rooms'"


def test_other_letters_have_none() -> None:
    assert traceback_of("tasks", b"{}") is None
    assert traceback_of("failures", b"no record") is None
    assert traceback_of("failures", None) is None


def test_a_failed_task_tells_the_type_of_its_problem_once() -> None:
    text = io.StringIO()
    screen = Screen(Console(file=text, width=80, color_system=None))
    for said in ("full", "book: KeyError: 'rooms'"):
        screen.timeline(Timeline("t", problem=Problem(type="KeyError", message=said)))
    assert [line for line in text.getvalue().splitlines() if "Key" in line] == [
        "KeyError: full",
        "book: KeyError: 'rooms'",
    ]
