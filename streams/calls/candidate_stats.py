"""How candidates have fared on this worker of late: what a route that chooses goes by.

Figures of the last `WINDOW_S` and of at most `KEPT_MAX` attempts. A candidate that was not called for so
long is unknown again, and so gets another chance. Whoever knows more, of the whole cluster, gives a
`Knowledge` of its own to `CandidateSelector` in place of this one.
"""

import time
from collections import deque
from collections.abc import Callable
from statistics import median
from typing import NamedTuple, Protocol

from segue.topics.parts import Circuit

WINDOW_S = 300.0
KEPT_MAX = 100
"""Attempts of a candidate that are looked at: enough for a median, few enough to sort at each choice."""

ATTEMPTS_MIN = 3
"""With fewer, one failure by chance would be a third of them or more: their share is not told."""


class Figures(NamedTuple):
    """Of one candidate; None where nothing is known."""

    latency_s: float | None = None
    failure_share: float | None = None
    circuit: Circuit | None = None


class Knowledge(Protocol):
    """What is known of the candidates of routes."""

    def of(self, route: str, candidate: str) -> Figures: ...


class Attempt(NamedTuple):
    at_s: float
    duration_s: float
    succeeded: bool


class Measured:
    """The attempts that this worker made itself."""

    def __init__(self, now_s: Callable[[], float] = time.monotonic) -> None:
        self._now_s = now_s
        self._attempts: dict[tuple[str, str], deque[Attempt]] = {}

    def add(self, route: str, candidate: str, *, succeeded: bool, duration_s: float) -> None:
        attempts = self._attempts.setdefault((route, candidate), deque(maxlen=KEPT_MAX))
        attempts.append(Attempt(self._now_s(), duration_s, succeeded))

    def of(self, route: str, candidate: str) -> Figures:
        attempts = self._attempts.get((route, candidate), deque())
        while attempts and attempts[0].at_s < self._now_s() - WINDOW_S:
            attempts.popleft()
        duration_s = [each.duration_s for each in attempts if each.succeeded]
        share = sum(not each.succeeded for each in attempts) / len(attempts) if attempts else None
        return Figures(
            latency_s=median(duration_s) if duration_s else None,
            failure_share=share if len(attempts) >= ATTEMPTS_MIN else None,
        )
