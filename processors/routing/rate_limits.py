"""Rate limits of candidates over all workers, without messages between them: each worker has a share by its
partitions.

A worker that owns k of the P partitions of a stage's topic may make k/P of the calls per minute, and as many
concurrent calls as there are places on its partitions. The shares always add up to the limit; a rebalance
moves them with the partitions.

    concurrent=3 over 4 partitions      0   1   2   3        worker A owns 0 and 1: 2 places
                                        ●   ●   ●            worker B owns 2 and 3: 1 place

With fewer places than partitions a worker may have none. Then its calls are moved, once, to a partition
that has one (`Share.elsewhere`), so that `concurrent=1` is one call on the whole cluster.

Rates use a token bucket, not a count per minute: the bucket fills at the share's rate and holds the calls of
one second, at least one call. So with a limit of n per minute, any minute has at most n calls, plus those of
one second, or one call, for each worker. Tokens are known only when a call has ended. They are subtracted
then, and the bucket may fall below zero: concurrent calls may exceed the limit, and later calls wait longer
for it.
"""

from collections.abc import Collection
from dataclasses import dataclass
from math import inf
from zlib import crc32

from segue.topics.errors import BadInput

MINUTE_S = 60.0
ROUNDING = 1e-6
"""A tolerance for float errors, so that a call which has waited for the bucket finds it full enough."""

BURST_S = 1.0
"""The seconds of a rate that may be used at once."""


@dataclass(frozen=True)
class Limit:
    """A limit of a candidate, route or MCP server over all workers: `Limit(per_minute=60, concurrent=4)`.

    `per_minute` counts calls, `tokens_per_minute` the tokens that calls used, and `concurrent` the calls at
    the same time. A call over a limit waits, and its timeout begins when the call is made. Raises `BadInput`
    if no value is given, or one is not positive.
    """

    per_minute: float | None = None
    tokens_per_minute: float | None = None
    concurrent: int | None = None

    def __post_init__(self) -> None:
        given = (self.per_minute, self.tokens_per_minute, self.concurrent)
        if all(each is None for each in given):
            raise BadInput("this Limit sets no value: give per_minute, tokens_per_minute or concurrent")
        if any(each is not None and each <= 0 for each in given):
            raise BadInput(
                f"limit values must be positive: {self}; to disable a candidate, remove it from the route"
            )


class Bucket:
    """A token bucket for one rate. Times are seconds of a monotonic clock."""

    def __init__(self, per_minute: float, burst_min: float) -> None:
        self._per_s = per_minute / MINUTE_S
        self._burst_min = burst_min
        self._rate = 0.0
        self._level = burst_min
        self._at_s = 0.0

    def share(self, share: float, now_s: float) -> None:
        self._fill(now_s)
        self._rate = self._per_s * share

    def wait_s(self, now_s: float) -> float:
        """Return the seconds until it holds one more call; `inf` while the share is 0."""
        self._fill(now_s)
        lacking = self._burst_min - self._level
        if lacking < ROUNDING:
            return 0.0
        return lacking / self._rate if self._rate else inf

    def take(self, amount: float) -> None:
        self._level -= amount

    def _fill(self, now_s: float) -> None:
        full = max(self._burst_min, self._rate * BURST_S)
        self._level = min(full, self._level + self._rate * max(0.0, now_s - self._at_s))
        self._at_s = now_s


class Share:
    """One worker's share of one limit."""

    def __init__(self, name: str, limit: Limit, partitions: int) -> None:
        self._name = name
        self._limit = limit
        self._partitions = partitions
        self._calls = None if limit.per_minute is None else Bucket(limit.per_minute, 1.0)
        self._tokens = None if limit.tokens_per_minute is None else Bucket(limit.tokens_per_minute, 1.0)
        self._places = places(name, limit.concurrent, partitions) if limit.concurrent else ()
        self._owns = False
        self._mine = 0
        self.running = 0

    def own(self, owned: Collection[int], now_s: float) -> None:
        self._owns = bool(owned)
        self._mine = sum(place in owned for place in self._places)
        for bucket in (self._calls, self._tokens):
            if bucket is not None:
                bucket.share(len(owned) / self._partitions, now_s)

    def elsewhere(self, task: str) -> int | None:
        """Return the partition to move the task's calls to; None if this worker has a place for them."""
        if not self._places or self._mine or not self._owns:
            return None
        return self._places[crc32(task.encode()) % len(self._places)]

    def wait_s(self, now_s: float, moved: bool) -> float:
        """Return the seconds until a call may begin; `inf` if it must wait for another call to end."""
        if not self._owns or (self._places and self.running >= (self._mine or moved)):
            return inf
        return max((b.wait_s(now_s) for b in (self._calls, self._tokens) if b is not None), default=0.0)

    def begin(self) -> None:
        self.running += 1
        if self._calls is not None:
            self._calls.take(1.0)

    def end(self, tokens: int) -> None:
        self.running -= 1
        if self._tokens is not None:
            self._tokens.take(tokens)


def places(name: str, concurrent: int, partitions: int) -> tuple[int, ...]:
    """Return the partition of each place: evenly spread, and different for different limits."""
    first = crc32(name.encode())
    return tuple((first + place * partitions // concurrent) % partitions for place in range(concurrent))
