"""The policy of a tool or a route: the reaction to attempts that fail."""

from dataclasses import dataclass, fields
from typing import Literal

from segue.topics.errors import BadInput

Action = Literal["ask again", "retry", "reroute", "give up"]


@dataclass(frozen=True)
class Policy:
    """The policy for attempts that fail: timeout, retries, backoff and reprompts. Times are in seconds.

    Each attempt may take `timeout_s`. A candidate is tried `1 + retries` times. The wait before a retry is a
    random time between 0 and `backoff_s * 2**tries`, at most `backoff_s_max` (full jitter), but never shorter
    than a Retry-After of the service. Then the next candidate is tried. After the last candidate, the
    workflow gets a `StepError`.

    If a check rejects an output, the same candidate is called again with the critique, at most
    `max_reprompts` times, and then the next candidate is called. With `max_reprompts=0` the next candidate is
    called at once, for example a strong model after a cheap one.

    A result with more than `result_bytes_max` bytes of JSON fails, and is not retried. A smaller result that
    does not fit into a record is kept in the object store. Raises `BadInput` for a value out of range.
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
