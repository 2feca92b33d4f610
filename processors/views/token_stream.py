"""What those who watch make of the records on `tokens`: of each step one text, that of its latest attempt.

Records of a text are numbered, and texts of a step ordered by their attempt and when they began. So what
comes twice, or late from a worker that was thought dead, is passed over, and a new attempt begins anew.
"""

from typing import NamedTuple

from segue.topics.tokens import TextState, Tokens


class Piece(NamedTuple):
    """What came next. `anew` says that what was shown of the step before counts for nothing.

    `state` is that of the attempt: a text that is `superseded` will be written again by another attempt, or
    never. Whoever was cut off listens on by `offset`.
    """

    step: int
    attempt: int
    route: str
    by: str
    text: str
    anew: bool
    state: TextState
    offset: int


class Writing:
    """The texts of one task, by their steps."""

    def __init__(self) -> None:
        self._at: dict[int, tuple[int, int, int]] = {}

    def piece(self, tokens: Tokens, offset: int) -> Piece | None:
        """What the record adds; None if that is known, or of an attempt that is over."""
        at = (tokens.attempt, tokens.begun_ms, tokens.number)
        before = self._at.get(tokens.step)
        if before is not None and at <= before:
            return None
        self._at[tokens.step] = at
        anew = tokens.number == 0 if before is None else at[:2] != before[:2]
        anew = anew or tokens.state == "superseded"
        return Piece(
            tokens.step,
            tokens.attempt,
            tokens.route,
            tokens.candidate,
            "" if tokens.state == "superseded" else tokens.text,
            anew,
            tokens.state,
            offset,
        )
