"""Pieces of records about who was chosen and what was used: data, with the arithmetic that goes with it.

`Usage` is what one call of a model consumed, `Spent` the sum over many. A call whose model has no known price
adds its tokens, and says so by `unpriced_tokens`: a cost is never guessed.
"""

from enum import Enum
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field

TOKENS_MAX = 2**53
"""What JSON's readers in all languages count exactly."""

USD_MAX = 1e12

Tokens = Annotated[int, Field(ge=0, le=TOKENS_MAX)]
Usd = Annotated[float, Field(ge=0, le=USD_MAX)]


class Absent(Enum):
    """In place of a value that was not given: null is a value too."""

    ABSENT = "absent"


ABSENT = Absent.ABSENT


def is_absent(value: object) -> bool:
    return value is ABSENT


class Part(BaseModel):
    """A piece of a record: no version of its own."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Usage(Part):
    """What a model call consumed, in tokens; and in US dollars, where a price of the model is known."""

    model: str | None = None
    input_tokens: Tokens = 0
    output_tokens: Tokens = 0
    usd: Usd | None = None


class Spent(Part):
    """What several model calls consumed. `usd` is without the `unpriced_tokens`, whose price is unknown."""

    calls: Tokens = 0
    input_tokens: Tokens = 0
    output_tokens: Tokens = 0
    unpriced_tokens: Tokens = 0
    usd: Usd = 0.0

    @classmethod
    def of(cls, usage: Usage) -> Self:
        tokens = min(usage.input_tokens + usage.output_tokens, TOKENS_MAX)
        return cls(
            calls=1,
            input_tokens=usage.input_tokens,
            output_tokens=usage.output_tokens,
            unpriced_tokens=tokens if usage.usd is None else 0,
            usd=usage.usd or 0.0,
        )

    @property
    def tokens(self) -> int:
        return self.input_tokens + self.output_tokens

    def __add__(self, other: Self) -> Self:
        return self.model_copy(
            update={
                "calls": min(self.calls + other.calls, TOKENS_MAX),
                "input_tokens": min(self.input_tokens + other.input_tokens, TOKENS_MAX),
                "output_tokens": min(self.output_tokens + other.output_tokens, TOKENS_MAX),
                "unpriced_tokens": min(self.unpriced_tokens + other.unpriced_tokens, TOKENS_MAX),
                "usd": min(self.usd + other.usd, USD_MAX),
            }
        )


class Budget(Part):
    """What a task may use in all, its children and agents included: `Budget(usd=0.50, tokens=200_000)`.

    A call of a model is not made once either is used up. Then whoever `ask` names is asked for more, and the
    task waits; without one, the workflow gets `BudgetExceeded`.
    """

    usd: Usd | None = None
    tokens: Tokens | None = None
    ask: str | None = None


class Choice(Part):
    """Which candidates a call goes to, by their numbers in the route, and in which order: decided once.

    `by` is who chose, `reason` why. An empty order says that whoever had to choose could not.
    """

    order: tuple[Annotated[int, Field(ge=0, le=2**31 - 1)], ...]
    by: str
    reason: str


class Refusal(Part):
    """An output that a check refused, without the output: who gave it, and the critique."""

    candidate: str
    reason: str


class Verdict(Part):
    """What a model as judge said of an output. `candidate` is the model, `usage` what it consumed."""

    accepted: bool
    critique: str = ""
    candidate: str = ""
    usage: Usage | None = None


Circuit = Literal["closed", "half_open", "open"]
"""Of a candidate: calls pass, some pass to see whether it works again, none should."""
