"""The offline model reads what authors write, and answers from whatever documents it is given."""

import pytest

from examples.documents.library import passages, search
from examples.documents.models import Errand, Passage
from examples.documents.offline.errand import read
from examples.documents.offline.summary import summarize


@pytest.mark.parametrize(
    ("request_", "understood"),
    [
        (
            "tell dana@example.com what the move to Harbour Street means for her team",
            Errand(to="dana@example.com", about="what the move to Harbour Street means for your team"),
        ),
        (
            "Please write an e-mail to Marek Duda <m.duda@ports.example> about hotels in the travel policy, "
            "keep it short",
            Errand(
                to="m.duda@ports.example",
                name="Marek Duda",
                about="hotels in the travel policy",
                style="keep it short",
            ),
        ),
        (
            "let ines@x.org know how on-call duty is paid",
            Errand(to="ines@x.org", about="how on-call duty is paid"),
        ),
        (
            "Inform board@x.org, in a formal tone, of the quarterly results.",
            Errand(to="board@x.org", about="the quarterly results", style="in a formal tone"),
        ),
        (
            "could you summarize the firmware incident for kim.lee@x.co.uk?",
            Errand(to="kim.lee@x.co.uk", about="the firmware incident"),
        ),
        ("what is said about parental leave?", Errand(about="what is said about parental leave")),
        ("write to dana@example.com", Errand(to="dana@example.com")),
        ("hi", Errand()),
    ],
)
def test_an_errand_is_understood(request_: str, understood: Errand) -> None:
    assert read(request_, []) == understood


def test_what_was_missing_is_taken_from_the_answers_and_the_latest_counts() -> None:
    assert read("write a mail about parental leave", ["to kim@x.org", "no, to lee@x.org"]) == Errand(
        to="lee@x.org", about="parental leave"
    )
    assert read("write to kim@x.org", ["the rates for meals"]).about == "the rates for meals"


@pytest.mark.parametrize(
    ("about", "document", "word"),
    [
        ("what the move to Harbour Street means for your team", "office-move.md", "1 February 2027"),
        ("hotels in the travel policy", "travel-policy.md", "140 EUR"),
        ("how on-call duty is paid", "on-call.md", "320 EUR"),
        ("the cause of the firmware incident", "incident-gauge-firmware.md", "tenths of an inch"),
        ("working from home abroad", "working-from-home.md", "20 days"),
        ("parcels at the front desk", "visitors.txt", "8:00 to 17:00"),
    ],
)
def test_a_summary_quotes_the_document_that_answers(about: str, document: str, word: str) -> None:
    points = summarize(about, search(about)).points
    assert any(word in point.quote for point in points if point.document == document), points
    texts = " ".join(p.text for p in search(about))
    assert all(point.quote in texts for point in points)


def test_what_no_document_speaks_of_has_no_points() -> None:
    for about in ("the price of bananas in Peru", "sabbaticals", "the of and"):
        assert summarize(about, search(about)).points == []


def test_documents_never_seen_before_are_quoted_too() -> None:
    said = "The heron lake is closed to boats from 1 March to 15 June. It is a nature reserve."
    lake = Passage(document="a.md", title="Rules", heading="Boats on heron lake", text=said)
    [first, *_] = summarize("boats on the heron lake", [lake]).points
    assert first.quote == "The heron lake is closed to boats from 1 March to 15 June."


def test_every_document_of_the_folder_has_passages() -> None:
    from examples.documents.addresses import FOLDER

    every = {passage.document for passage in passages(FOLDER)}
    assert every == {path.name for path in FOLDER.iterdir()}
