"""The one place where the engine reads the wall clock; everything below is handed the time."""

import time


def now_ms() -> int:
    """Milliseconds since the Unix epoch."""
    return time.time_ns() // 1_000_000
