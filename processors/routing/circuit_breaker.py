"""Circuit breakers: no worker calls a candidate that fails for some time; then it is tried again.

    attempts ─▶ Tally (each worker, each second) ─▶ Window ─▶ judged ─▶ Health ─▶ every worker

                 enough attempts within the window, and too many of them failed
        closed ────────────────────────────────────────────────────────────────▶ open
           ▲                                                                     │ ▲
           │ `probes` of them succeeded                               `open_s` later │
           └──────────────────────────────── half open ◀─────────────────────────┘ │
                                                └──────── a probe failed ──────────┘

`judged` has the transitions. It uses the sums of a `Window`, a value of fixed size. Both depend only on
tallies and their times, so a tally that is counted twice or lost does no harm.
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

from pydantic import TypeAdapter

from segue.processors.durations import rounded_up_ms
from segue.topics.errors import BadInput
from segue.topics.health import STEPS_PER_DOUBLING, Health, State, Tally

PANES = 6
"""The panes of a window: it moves forward by a sixth of its length at a time."""

GOOD_S = 30.0
"""While a candidate is called, its circuit is published about every second. If a circuit was not published
for this many seconds, beyond `open_s`, it is ignored: its publisher is down, and calls continue without
circuit breakers."""

TOLD_S_MIN = 1.0
"""The shortest time in seconds between two publications of changed figures."""


@dataclass(frozen=True)
class CircuitBreaker:
    """When to stop calls of candidates that fail: `App("travel", …, circuit_breaker=CircuitBreaker())`.

    A circuit opens when at least `attempts_min` attempts of all workers ended within `window_s` seconds, and
    at least the share `failures` (above 0, at most 1) of them failed with a temporary error: a timeout, 503,
    429, or no connection. After `open_s` seconds each worker tests the candidate with one call at a time. The
    circuit closes when `probes` of these calls succeeded. Raises `BadInput` for a value out of range.
    """

    window_s: float = 30.0
    failures: float = 0.5
    attempts_min: int = 10
    open_s: float = 15.0
    probes: int = 3

    def __post_init__(self) -> None:
        if self.window_s <= 0 or self.open_s <= 0:
            raise BadInput(f"window_s and open_s must be positive numbers of seconds: {self}")
        if not 0 < self.failures <= 1:
            raise BadInput(f"failures must be a share of the attempts, above 0 and at most 1: {self}")
        if self.attempts_min < 1 or self.probes < 1:
            raise BadInput(f"attempts_min and probes must be at least 1: {self}")

    @property
    def pane_ms(self) -> int:
        return max(1, round(self.window_s * 1000 / PANES))


class Pane(NamedTuple):
    """A part of the window, with its counts."""

    begins_ms: int
    attempts: int
    failures: int
    latencies: dict[int, int]


Window = tuple[Pane, ...]
"""The panes that have counts, the oldest first: at most `PANES`."""

WINDOW: TypeAdapter[Window] = TypeAdapter(Window)


def counted(window: Window, tally: Tally, at_ms: int, policy: CircuitBreaker) -> Window:
    """Return the window with the tally added, and without panes that are too old."""
    begins_ms = at_ms // policy.pane_ms * policy.pane_ms
    oldest_ms = begins_ms - (PANES - 1) * policy.pane_ms
    panes = {pane.begins_ms: pane for pane in window if pane.begins_ms >= oldest_ms}
    panes[begins_ms] = _with(tally, panes.get(begins_ms, Pane(begins_ms, 0, 0, {})))
    return tuple(panes[begins] for begins in sorted(panes))[-PANES:]


def _with(tally: Tally, pane: Pane) -> Pane:
    return Pane(
        pane.begins_ms,
        pane.attempts + tally.attempts,
        pane.failures + tally.failures,
        dict(Counter(pane.latencies) + Counter(tally.latencies)),
    )


def judged(before: Health | None, window: Window, tally: Tally, at_ms: int, policy: CircuitBreaker) -> Health:
    """Return the candidate's health and circuit after the tally, which the window already contains."""
    attempts = sum(pane.attempts for pane in window)
    failures = sum(pane.failures for pane in window)
    latencies = sum((Counter(pane.latencies) for pane in window), Counter[int]())
    state, since_ms, until_ms, probes = _circuit(before, window, tally, at_ms, policy)
    return Health(
        candidate=tally.candidate,
        state=state,
        since_ms=since_ms,
        until_ms=until_ms,
        window_s=policy.window_s,
        attempts=attempts,
        failures=failures,
        probes=probes,
        latency_p50_ms=quantile(latencies, 0.5),
        latency_p95_ms=quantile(latencies, 0.95),
        at_ms=at_ms,
        good_until_ms=at_ms + rounded_up_ms(policy.open_s + GOOD_S),
    )


Circuit = tuple[State, int, int | None, int]
"""The state, its start, its end, and the number of probes that succeeded."""


def _circuit(
    before: Health | None, window: Window, tally: Tally, at_ms: int, policy: CircuitBreaker
) -> Circuit:
    """Return the circuit after all transitions."""
    opened: Circuit = ("open", at_ms, at_ms + rounded_up_ms(policy.open_s), 0)
    match before:
        case Health(state="open", until_ms=int(until_ms)) if at_ms < until_ms:
            return "open", before.since_ms, until_ms, 0
        case Health(state="open"):
            return "half_open", at_ms, None, 0
        case Health(state="half_open"):
            probes = before.probes + tally.probes - tally.probes_failed
            if tally.probes_failed:
                return opened
            if probes >= policy.probes:
                return "closed", at_ms, None, 0
            return "half_open", before.since_ms, None, probes
        case _:
            since_ms = before.since_ms if before else at_ms
            return opened if _fails(window, since_ms, policy) else ("closed", since_ms, None, 0)


def _fails(window: Window, since_ms: int, policy: CircuitBreaker) -> bool:
    """Return whether the failures open the circuit. After a circuit has closed again, only later attempts
    count.
    """
    panes = [pane for pane in window if pane.begins_ms + policy.pane_ms > since_ms]
    attempts = sum(pane.attempts for pane in panes)
    return (
        attempts >= policy.attempts_min and sum(pane.failures for pane in panes) >= policy.failures * attempts
    )


def is_news(before: Health | None, now: Health) -> bool:
    """Return whether to publish a record: the state changed, or the figures or `good_until_ms` are getting
    old.
    """
    if before is None or (now.state, now.since_ms, now.probes) != (
        before.state,
        before.since_ms,
        before.probes,
    ):
        return True
    return now.at_ms - before.at_ms >= TOLD_S_MIN * 1000


# ---------------------------------------------------------------- latencies


def latency_key(duration_ms: float) -> int:
    """Return the key under which an attempt is counted; the durations of one key differ by at most 19 %."""
    steps = 0
    while 2 ** (steps / STEPS_PER_DOUBLING) < duration_ms:
        steps += 1
    return steps


def quantile(latencies: Mapping[int, int], share: float) -> float | None:
    """Return the duration in ms that `share` of the attempts do not exceed, with the precision of a key."""
    left = share * sum(latencies.values())
    for key, count in sorted(latencies.items()):
        left -= count
        if left <= 0:
            return round(2 ** (key / STEPS_PER_DOUBLING), 1)
    return None


# ---------------------------------------------------------------- for those who call


def believed(health: Health | None, now_ms: int) -> State:
    """Return the state of the circuit for calls: closed if there are no recent figures."""
    return "closed" if health is None or now_ms > health.good_until_ms else health.state


def refusal(health: Health) -> str:
    """Return the reason why a candidate with an open circuit is not called."""
    return (
        f"not called: its circuit is open, because {health.failures} of {health.attempts} attempts within "
        f"{health.window_s:g} s failed"
    )


BEING_TRIED = "not called: its circuit is half open, and another call tests it now"
