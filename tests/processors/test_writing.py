"""Who watches sees one text of each step: that of the attempt that counts."""

from typing import Any

from segue.processors.views.token_stream import Piece, Writing
from segue.topics.tokens import Tokens


def tokens(text: str, number: int = 0, attempt: int = 1, begun_ms: int = 1, **changes: Any) -> Tokens:
    return Tokens(
        task="t",
        step=0,
        attempt=attempt,
        route="rank",
        candidate="model",
        number=number,
        text=text,
        begun_ms=begun_ms,
        at_ms=1,
        **changes,
    )


def shown(*records: Tokens) -> str:
    """What stands on a screen after the records."""
    writing, text = Writing(), ""
    for offset, record in enumerate(records):
        if piece := writing.piece(record, offset):
            text = ("" if piece.anew else text) + piece.text
    return text


def test_pieces_of_an_attempt_are_one_text() -> None:
    assert shown(tokens("a "), tokens("quiet ", 1), tokens("one", 2, state="finished")) == "a quiet one"


def test_a_piece_tells_where_to_listen_on() -> None:
    piece = Writing().piece(tokens("a "), 17)
    assert piece == Piece(0, 1, "rank", "model", "a ", True, "running", 17)


def test_a_piece_that_comes_twice_is_shown_once() -> None:
    assert shown(tokens("a "), tokens("a "), tokens("b", 1), tokens("a ")) == "a b"


def test_an_attempt_that_failed_takes_its_text_back() -> None:
    assert shown(tokens("a "), tokens("", 1, state="superseded")) == ""


def test_the_next_attempt_begins_the_text_anew() -> None:
    assert shown(tokens("a "), tokens("b ", 0, attempt=2), tokens("c", 1, attempt=2)) == "b c"


def test_the_same_attempt_made_again_after_a_crash_begins_anew() -> None:
    assert shown(tokens("a "), tokens("b", 1), tokens("c", 0, begun_ms=2)) == "c"


def test_a_worker_that_was_thought_dead_writes_nothing_into_the_new_text() -> None:
    assert shown(tokens("a "), tokens("c", 0, begun_ms=2), tokens("b", 1), tokens("d", 1, begun_ms=2)) == "cd"


def test_who_listens_on_in_the_middle_goes_on_with_the_text() -> None:
    piece = Writing().piece(tokens("quiet ", 1), 18)
    assert piece is not None
    assert not piece.anew
