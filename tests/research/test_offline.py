"""The offline model plans, quotes and objects by what it is given, whatever that is."""

import os
from pathlib import Path

import pytest

from examples.research import library
from examples.research.models import Claim, Draft, Objection, Passage, Verdict
from examples.research.offline.criticism import criticize
from examples.research.offline.planning import plan
from examples.research.offline.writing import write

OLD = Passage(
    id="old#1", document="Old survey", year=2010, text="Stone paths cost 30 euros a metre. They last."
)
NEW = Passage(id="new#1", document="New survey", year=2020, text="Stone paths now cost 44 euros a metre.")
COST = "cost of stone paths"


@pytest.mark.parametrize(
    ("question", "asked"),
    [
        (
            "Should we lay stone paths or gravel paths?",
            [
                "effect of stone paths",
                "effect of gravel paths",
                "cost of stone paths",
                "cost of gravel paths",
            ],
        ),
        (
            "Are awnings or shutters better against the heat?",
            ["cooling of awnings", "cooling of shutters"],
        ),
        ("How much does a tram cost?", ["effect of tram cost", "cost of tram cost"]),
    ],
)
def test_a_question_is_taken_apart_by_its_options_and_its_purpose(question: str, asked: list[str]) -> None:
    assert plan(question).questions[: len(asked)] == asked


def test_the_sentence_that_answers_is_quoted_and_what_nothing_answers_is_named() -> None:
    draft = write([COST, "cost of gravel paths"], [OLD], Draft(claims=[]), [])
    assert draft == Draft(
        claims=[Claim(question=COST, quote="Stone paths cost 30 euros a metre.", source="old#1")],
        unanswered=["cost of gravel paths"],
    )


def test_what_was_objected_to_is_not_quoted_again() -> None:
    first = write([COST], [OLD, NEW], Draft(claims=[]), [])
    objections = criticize(first, [OLD, NEW], []).objections
    assert objections == [Objection(about="old#1", problem="New survey (2020) is newer and says otherwise.")]
    second = write([COST], [OLD, NEW], first, objections)
    assert [claim.source for claim in second.claims] == ["new#1"]
    assert criticize(second, [OLD, NEW], []) == Verdict(objections=[])


def test_a_quote_that_does_not_stand_in_its_source_does_not_hold() -> None:
    draft = Draft(claims=[Claim(question=COST, quote="Stone paths cost 3 euros a metre.", source="old#1")])
    assert [each.about for each in criticize(draft, [OLD], []).objections] == ["old#1"]


def test_other_words_are_looked_for_once() -> None:
    draft = Draft(claims=[], unanswered=["upkeep of gravel paths"])
    [gap] = criticize(draft, [OLD], ["upkeep of gravel paths"]).objections
    assert gap.search == "maintenance repair gravel paths"
    assert criticize(draft, [OLD], [gap.search]) == Verdict(objections=[])


def test_notes_of_one_s_own_need_no_title_and_no_year(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(library, "LIBRARY", tmp_path)
    for name, text in {"a.md": "# Roof\nWe paint it.\n\nIn May.", "b.md": "It rains.", "c.md": ""}.items():
        (tmp_path / name).write_text(text)
        os.utime(tmp_path / name, (1_700_000_000, 1_700_000_000))
    (tmp_path / "d.md").write_text("# Tiles (2019)\n\nThey hold.")
    found = [(each.id, each.document, each.year, each.text) for each in library.passages()]
    assert found == [
        ("a#1", "Roof", 2023, "We paint it."),
        ("a#2", "Roof", 2023, "In May."),
        ("b#1", "b", 2023, "It rains."),
        ("d#1", "Tiles", 2019, "They hold."),
    ]


def test_a_folder_that_is_not_there_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(library, "LIBRARY", tmp_path / "notes")
    with pytest.raises(NotADirectoryError, match="notes is no folder: RESEARCH_LIBRARY says where"):
        library.search("roof", 1)


def test_the_rare_words_of_a_query_count_more() -> None:
    assert [passage.id for passage in library.search("maintenance of trees", 1)] == ["green-budget-2023#2"]
    assert library.search("???", 5) == []
