"""How questions stand on a screen: whole where somebody decides by them, on one line in lists."""

import asyncio
import io
from collections.abc import AsyncGenerator
from typing import Any

import pytest
from rich.console import Console

from segue.processors.views.descriptions import question_line
from segue.processors.views.timeline import Timeline
from segue.streams.cli.commands.signals import confirmed
from segue.streams.cli.render import Screen
from segue.streams.cli.tables import cut, plain_table
from segue.streams.cli.watching import picking, watch
from segue.streams.client.answers import question_for
from segue.topics import codec
from segue.topics.errors import BadInput, UnknownName
from segue.topics.flow import Received
from segue.topics.records import Answered, Given, Option, Origin, Question, QuestionClosed, Result, Status

LETTER = Question(
    task="t",
    step=4,
    workflow="w",
    to="author",
    text="Shall I send this to dana@example.com? Or say what to change.\n\nDear Dana,\nwe move.",
    options=(Option(label="Send it", value="send"), Option(label="Discard it " + "and forget " * 5, value=1)),
    at_ms=0,
)
WHOLE = [
    "Shall I send this to dana@example.com? Or say what to",
    "change.",
    "",
    "Dear Dana,",
    "we move.",
]


def on(width: int) -> tuple[Screen, io.StringIO]:
    text = io.StringIO()
    return Screen(Console(file=text, width=width, force_terminal=True, color_system=None)), text


def lines(text: io.StringIO) -> list[str]:
    return [line.strip() for line in text.getvalue().splitlines()]


@pytest.mark.parametrize("shown", ["watch", "show"])
def test_a_question_is_whole_on_a_narrow_terminal(shown: str) -> None:
    screen, text = on(80)
    timeline = Timeline("t")
    event = timeline.apply(Received("questions", 0, 0, b"t", codec.encode(LETTER), (), 0))
    assert event is not None
    if shown == "watch":
        screen.event(event)
    else:
        screen.timeline(timeline)
    asked = lines(text)
    assert [line for line in asked if line in WHOLE and line] == [line for line in WHOLE if line]
    assert asked[-3:] == [
        "1  Send it",
        "2  Discard it and forget and forget and forget and",
        "forget and forget",
    ]
    assert "…" not in text.getvalue().replace("…  ", "")


def test_what_fits_stands_on_the_line_of_its_step() -> None:
    screen, text = on(200)
    timeline = Timeline("t")
    event = timeline.apply(Received("questions", 0, 0, b"t", codec.encode(LETTER), (), 0))
    assert event is not None
    screen.event(event)
    asked = lines(text)
    assert asked[0].endswith("Shall I send this to dana@example.com? Or say what to change.")
    assert asked[1:4] == ["", "Dear Dana,", "we move."]


def test_an_answer_is_told_in_the_words_that_were_picked() -> None:
    screen, text = on(200)
    timeline = Timeline("t")
    origin = Origin(topic="signals", partition=0, offset=0)
    answered = Answered(task="t", id="a", step=4, value=1, origin=origin, at_ms=1)
    closed = QuestionClosed(task="t", step=4, reason="answered", answer=Given(id="a", value=1), at_ms=1)
    for topic, record in (("questions", LETTER), ("events", answered), ("questions", closed)):
        timeline.apply(Received(topic, 0, record.at_ms, b"t", codec.encode(record), (), 0))
    screen.timeline(timeline)
    assert lines(text)[-1].endswith(LETTER.options[1].label.strip())


def test_a_list_and_a_confirmation_have_the_first_line() -> None:
    first = "Shall I send this to dana@example.com? Or say what to change."
    discard = LETTER.options[1].label
    assert question_line(LETTER) == f"{first} (Send it / {discard})"
    assert confirmed(LETTER, "send", "1") == f"answered {first!r}: Send it"
    assert confirmed(LETTER, True, "yes") == f"answered {first!r}: yes"
    assert confirmed(LETTER, "shorter", "shorter") == f"answered {first!r}: shorter"
    assert question_line(LETTER.model_copy(update={"text": "\n  When?\n", "options": ()})) == "When?"


def status(state: Any, *questions: Question) -> Status:
    return Status(
        task="t",
        workflow="w",
        version=1,
        state=state,
        questions=questions,
        partition=0,
        offset=0,
        started_ms=0,
        at_ms=0,
    )


async def test_a_question_that_can_be_answered_again_is_told_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """Parked by code that asks nothing, the task takes no answer; mended, it does."""
    monkeypatch.setattr("segue.streams.cli.watching.SETTLED_S", 0)
    result = Result(task="t", workflow="w", outcome="cancelled", started_ms=0, at_ms=0)
    records = [("questions", LETTER), ("status", status("parked")), ("status", status("waiting", LETTER))]

    class Told:
        async def follow(self, task: str) -> AsyncGenerator[Received]:
            for offset, (topic, record) in enumerate([*records, ("results", result)]):
                yield Received(topic, 0, offset, task.encode(), codec.encode(record), (), 0)
                await asyncio.sleep(0.01)

        async def tokens(self, task: str) -> AsyncGenerator[None]:
            raise UnknownName(task)
            yield

    screen, text = on(200)
    told: Any = Told()
    await watch(told, "t", screen)
    assert text.getvalue().count("answer t VALUE --step 4") == 2


async def test_an_option_that_a_question_lacks_is_not_picked() -> None:
    screen, text = on(200)
    assert await picking(screen, 2)(LETTER) == 1
    with pytest.raises(BadInput, match=r"has no option 3: 1 Send it; 2 Discard.* answer t VALUE --step 4"):
        await picking(screen, 3)(LETTER)
    assert text.getvalue().count("answered automatically: ") == 1


def test_an_error_that_names_questions_is_one_line() -> None:
    with pytest.raises(BadInput) as refused:
        question_for(status("waiting", LETTER), 9)
    assert "\n" not in str(refused.value)


def test_a_table_cuts_its_last_column_and_nothing_else() -> None:
    screen, text = on(40)
    table = plain_table("TASK", "STATE")
    table.add_column("")
    table.add_row("1m894zpzasa2642hr", "waiting", cut("asks author: this and that\nand more"))
    screen.console.print(table)
    assert lines(text)[1:] == ["1m894zpzasa2642hr  waiting  asks author…"]
