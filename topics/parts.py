"""Parts of records about selections and consumption: data, with its arithmetic.

`Usage` is what one call of a model consumed, `Spent` the sum over many. A call of a model without a known
price adds its tokens, also to `unpriced_tokens`: a cost is never guessed.
"""

from enum import Enum
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field

TOKENS_MAX = 2**53
"""The largest integer that JSON readers in all languages represent exactly."""

USD_MAX = 1e12

Tokens = Annotated[int, Field(ge=0, le=TOKENS_MAX)]
Usd = Annotated[float, Field(ge=0, le=USD_MAX)]


class Absent(Enum):
    """Stands for a value that was not given, because null is a value too."""

    ABSENT = "absent"


ABSENT = Absent.ABSENT


def is_absent(value: object) -> bool:
    return value is ABSENT


class Part(BaseModel):
    """A part of a record, without a version of its own."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Usage(Part):
    """The tokens that a model call consumed, and its cost in US dollars if a price of the model is known."""

    model: str | None = None
    input_tokens: Tokens = 0
    output_tokens: Tokens = 0
    usd: Usd | None = None


class Spent(Part):
    """The sum that several model calls consumed. `usd` does not include the `unpriced_tokens`, whose price is
    unknown.
    """

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
    """The most that a task, with its children and agents, may use: `Budget(usd=0.50, tokens=200_000)`.

    `usd` is in US dollars. When either part is used up, no model is called. Then the task asks the person
    that `ask` names for more, and waits; without `ask`, the workflow gets `BudgetExceeded`.
    """

    usd: Usd | None = None
    tokens: Tokens | None = None
    ask: str | None = None


class Choice(Part):
    """The candidates of a call, by their numbers in the route, in the order of calling. It is decided once.

    `by` names the chooser, `reason` says why. An empty order means that the chooser failed.
    """

    order: tuple[Annotated[int, Field(ge=0, le=2**31 - 1)], ...]
    by: str
    reason: str


class Refusal(Part):
    """A rejected output, without the output itself: its candidate and the critique."""

    candidate: str
    reason: str


class Verdict(Part):
    """The verdict of a judge on an output. `candidate` is the judging model, `usage` what it consumed."""

    accepted: bool
    critique: str = ""
    candidate: str = ""
    usage: Usage | None = None


Circuit = Literal["closed", "half_open", "open"]
"""The circuit of a candidate: all calls pass, some pass to test it, or none should."""
