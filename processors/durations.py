"""Times on the wire are whole milliseconds: others are rounded up, so that nothing comes early."""

from datetime import UTC, datetime, timedelta

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

_MS = timedelta(milliseconds=1)


def rounded_up_ms(duration: timedelta | float) -> int:
    """Of a duration, or of a time in seconds; what is below a microsecond is a float's error."""
    if isinstance(duration, timedelta):
        whole, rest = divmod(duration, _MS)
        return whole + bool(rest)
    return -(-round(duration * 1_000_000) // 1_000)
