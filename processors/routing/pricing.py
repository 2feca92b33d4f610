"""Prices of models that a team sets itself: for its own models, for discounts, or 0 for a local model."""

from dataclasses import dataclass

from segue.topics.errors import BadInput
from segue.topics.parts import Usage

MTOK = 1_000_000


@dataclass(frozen=True)
class Price:
    """US dollars per million tokens: `App(…, prices={"ollama:qwen3": Price(input=0, output=0)})`."""

    input: float
    output: float

    def __post_init__(self) -> None:
        if self.input < 0 or self.output < 0:
            raise BadInput(f"a price must be 0 or more: {self}")

    def of(self, usage: Usage) -> float:
        return (self.input * usage.input_tokens + self.output * usage.output_tokens) / MTOK
