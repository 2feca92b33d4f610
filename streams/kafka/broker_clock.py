"""What time it is, as the brokers say: the one place where the engine asks.

    wall clock, until a broker has taken a record ─▶ the broker's time, counted on by the monotonic clock

Kafka stamps each record when it takes it (see `provision`), and tells the producer. The stamp lies between
sending and acknowledgement, so each commit bounds how far we are off, and our shift is kept within these
bounds. A worker whose wall clock is set forward or back, or is wrong for hours, keeps time with the others;
one that was frozen during a commit learns little from it, and more from the next.
"""

import logging
import time
from collections.abc import Callable

log = logging.getLogger(__name__)

TOLD_MS_MIN = 1_000
"""A wall clock that is less off than this is nobody's business."""


class Clock:
    def __init__(
        self, wall_ns: Callable[[], int] = time.time_ns, counting_ns: Callable[[], int] = time.monotonic_ns
    ) -> None:
        self._wall_ns = wall_ns
        self._counting_ns = counting_ns
        self._shift_ms: int | None = None
        """From the counting clock to the brokers'; None before one has told."""

    def now_ms(self) -> int:
        """Milliseconds since the Unix epoch."""
        if self._shift_ms is None:
            return self._wall_ns() // 1_000_000
        return self.counted_ms() + self._shift_ms

    def counted_ms(self) -> int:
        """Milliseconds since whenever: no one sets this clock."""
        return self._counting_ns() // 1_000_000

    def synchronize(self, stamp_ms: int, sent_ms: int) -> None:
        """A broker stamped what was sent at `sent_ms`, by `counted_ms`, and it is acknowledged just now."""
        least, most = stamp_ms - self.counted_ms(), stamp_ms + 1 - sent_ms
        if self._shift_ms is None:
            self._compare(stamp_ms)
            self._shift_ms = self.now_ms() - self.counted_ms()
        self._shift_ms = max(least, min(most, self._shift_ms))

    def _compare(self, stamp_ms: int) -> None:
        ahead_ms = self.now_ms() - stamp_ms
        if abs(ahead_ms) > TOLD_MS_MIN:
            log.warning(
                "this machine's clock is %g s %s the broker's: Segue uses the broker's "
                "time; correct this machine's clock",
                *(round(abs(ahead_ms) / 1000, 1), "ahead of" if ahead_ms > 0 else "behind"),
            )


CLOCK = Clock()
"""This process's."""

now_ms = CLOCK.now_ms
