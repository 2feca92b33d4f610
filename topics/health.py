"""The health of candidates: the counts of each worker, and the figures over all workers.

Both are keyed by the candidate's name, not by a task, and written outside of transactions: a lost or
duplicated record makes a figure a little wrong, and affects no task.
"""

from typing import Annotated, Literal

from pydantic import Field

from segue.topics.records import Milliseconds, Record

Candidate = Annotated[str, Field(min_length=1)]
Count = Annotated[int, Field(ge=0, le=2**53)]

State = Literal["closed", "open", "half_open"]
"""The state of a circuit: all calls pass, no calls, or a few to test the candidate."""

STEPS_PER_DOUBLING = 4
"""The resolution of `latencies`: within 9 % of the measured duration."""


class Tally(Record):
    """Topic `outcomes`: one worker's counts for a candidate within about a second.

    `failures` counts those of `attempts` that a retry may fix (a timeout, 503, no connection): they are
    caused by the candidate, other failures by the call. `probes` and `probes_failed` are those made while the
    circuit was half open; `skipped` calls went to the next candidate. `latencies` counts attempts by their
    duration: under the key k are those of about 2**(k / 4) ms.
    """

    kind: Literal["tally"] = "tally"
    candidate: Candidate
    worker: str
    attempts: Count = 0
    failures: Count = 0
    probes: Count = 0
    probes_failed: Count = 0
    skipped: Count = 0
    latencies: dict[int, Count] = Field(default_factory=dict[int, int])
    at_ms: Milliseconds


class Health(Record):
    """Topic `health` (compacted): a candidate's figures over the last `window_s`, and its circuit.

    A circuit that is `open` is tried again at `until_ms`. After `good_until_ms` the record is ignored,
    because its publisher may have died.
    """

    kind: Literal["health"] = "health"
    candidate: Candidate
    state: State = "closed"
    since_ms: Milliseconds
    until_ms: Milliseconds | None = None
    window_s: float
    attempts: Count = 0
    failures: Count = 0
    probes: Count = 0
    """The probes that succeeded in the current half-open period."""
    latency_p50_ms: float | None = None
    latency_p95_ms: float | None = None
    at_ms: Milliseconds
    good_until_ms: Milliseconds

    @property
    def failure_share(self) -> float:
        return self.failures / self.attempts if self.attempts else 0.0
