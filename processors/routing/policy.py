"""What happens when an attempt fails, as a tool or a route says it."""

from dataclasses import dataclass, fields
from typing import Literal

from segue.topics.errors import BadInput

Action = Literal["ask again", "retry", "reroute", "give up"]


@dataclass(frozen=True)
class Policy:
    """What happens when an attempt fails.

    A candidate is tried `1 + retries` times; the wait before a retry is drawn evenly between 0 and
    `backoff_s * 2**tries`, at most `backoff_s_max` (full jitter), and never less than what the service
    asked for by Retry-After. Then the next candidate is tried; after the last, the workflow gets a
    `StepError`. An output that a check refuses goes back to the candidate with the critique, at most
    `max_reprompts` times, and then to the next: with `max_reprompts=0` at once, from the cheap one to the
    strong one.
    A result over `result_bytes_max`, as JSON, is a failure that no retry mends; one below it that fits no
    record is kept by reference.
    """

    timeout_s: float = 60.0
    retries: int = 3
    backoff_s: float = 0.2
    backoff_s_max: float = 60.0
    max_reprompts: int = 2
    result_bytes_max: int = 32_000_000

    def __post_init__(self) -> None:
        if self.result_bytes_max < 1:
            raise BadInput(f"result_bytes_max must be positive: {self}")
        if self.timeout_s <= 0 or self.backoff_s < 0 or self.backoff_s_max < self.backoff_s:
            raise BadInput(f"times must be positive, and backoff_s_max at least backoff_s: {self}")
        if self.retries < 0 or self.max_reprompts < 0:
            raise BadInput(f"retries and max_reprompts must be at least 0: {self}")


FIELDS = tuple(each.name for each in fields(Policy))
