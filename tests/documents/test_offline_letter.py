"""The offline model changes a draft as its author says, and says what it did not understand."""

from functools import reduce
from typing import Any

import pytest

from examples.documents.models import Errand, Point
from examples.documents.offline.letter import write
from examples.documents.offline.notes import Style, apply

ERRAND = Errand(to="dana.meyer@example.com", about="the move")
POINTS = [
    Point(text=text, quote=text, document="move.md")
    for text in ("Mill Lane closes in January.", "There are 22 parking spaces.", "Desks are shared.")
]


@pytest.mark.parametrize(
    ("note", "changes"),
    [
        ("friendlier, please", {"tone": "friendly"}),
        ("that is too formal", {"tone": "friendly"}),
        ("a bit less casual", {"tone": "formal"}),
        ("Make it sound more professional.", {"tone": "formal"}),
        ("keep the tone neutral", {"tone": "plain"}),
        ("shorter", {"points_max": 2}),
        ("it's too short, more detail please", {"points_max": 6}),
        ("only three points", {"points_max": 3}),
        ("at most 1 sentence", {"points_max": 1}),
        ("leave out the parking", {"omitted": ("parking",)}),
        ("without the part about desks", {"omitted": ("desks",)}),
        ("don't mention crates", {"omitted": ("crates",)}),
        ("without sources", {"sources": False}),
        ("mention that lunch is free", {"added": ("Lunch is free.",)}),
        ("tell her that I am away on Monday", {"added": ("I am away on Monday.",)}),
        ("sign it as Kim from Facilities", {"signature": "Kim from Facilities"}),
        ("call her Dr Meyer", {"greeting": "Dear Dr Meyer"}),
        ('start with "Dear team"', {"greeting": "Dear team"}),
        ("change the subject to Moving day", {"subject": "Moving day"}),
        (
            "warmer and shorter, and sign it as Kim",
            {"tone": "friendly", "points_max": 2, "signature": "Kim"},
        ),
        (
            "mention that formal dress is not needed and make it friendly",
            {"added": ("Formal dress is not needed.",), "tone": "friendly"},
        ),
        ("please", {}),
    ],
)
def test_a_note_changes_what_it_says(note: str, changes: dict[str, Any]) -> None:
    assert apply(Style(), note) == Style(**changes)


def test_a_note_that_is_not_understood_is_answered() -> None:
    remark = apply(Style(), "translate it into French").remark
    assert remark is not None
    assert remark.startswith("I did not understand “translate it into French”. I can change tone,")
    assert apply(Style(remark=remark), "shorter").remark is None


def test_later_notes_count_more() -> None:
    assert reduce(apply, ["formal", "no, friendlier", "sign as A", "sign as B"], Style()) == Style(
        tone="friendly", signature="B"
    )


def test_a_mail_has_a_greeting_the_points_with_their_sources_and_a_closing() -> None:
    assert write(ERRAND, POINTS, ["leave out the parking", "formal"]).body == (
        "Dear Dana Meyer,\n\n"
        "I would like to inform you about the following: the move.\n\n"
        "- Mill Lane closes in January. (move.md)\n- Desks are shared. (move.md)\n\n"
        "Please do not hesitate to contact me if you have any questions.\n\n"
        "Yours sincerely\nTidewater Instruments"
    )


def test_the_errand_may_say_how_to_write() -> None:
    errand = ERRAND.model_copy(update={"style": "keep it short", "name": "Dr Meyer"})
    draft = write(errand, POINTS, [])
    assert (draft.subject, draft.body.count("\n- ")) == ("The move", 2)
    assert draft.body.startswith("Hello Dr Meyer,")


def test_a_list_has_no_first_name() -> None:
    assert write(Errand(to="team@x.org", about="x"), POINTS, []).body.startswith("Hello all,")
