"""Times as people read them, in the time zone of this machine."""

from datetime import datetime

LAST_MS = 253_370_764_800_000
"""The year 9999: who waits longer waits for ever, and calendars end."""


def clock(at_ms: int) -> str:
    return _local(at_ms).strftime("%H:%M:%S.%f")[:10]


def moment_of(at_ms: int) -> str:
    return _local(at_ms).strftime("%Y-%m-%d %H:%M:%S")


def _local(at_ms: int) -> datetime:
    return datetime.fromtimestamp(min(at_ms, LAST_MS) / 1000).astimezone()
