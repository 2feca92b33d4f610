"""Says once what aiokafka says a hundred times a second while a broker is away.

Its clients retry by themselves and log every try; a worker has fourteen of them. Each message is let through
once in a while, so that a log shows what is wrong and since when, and stays readable.
"""

import logging
import time

REPEAT_S = 30.0

LOGGERS = (
    "aiokafka",
    "aiokafka.conn",
    "aiokafka.cluster",
    "aiokafka.consumer.consumer",
    "aiokafka.consumer.fetcher",
    "aiokafka.consumer.group_coordinator",
    "aiokafka.consumer.subscription_state",
    "aiokafka.producer.producer",
    "aiokafka.producer.sender",
)
"""A filter on a logger does not see what its children log."""


class LogThrottle(logging.Filter):
    """Lets a message of one wording through at most every `REPEAT_S`, whatever its arguments."""

    def __init__(self) -> None:
        super().__init__()
        self._said_s: dict[str, float] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        now_s = time.monotonic()
        wording = f"{record.name}: {record.msg}"
        if now_s - self._said_s.get(wording, -REPEAT_S) < REPEAT_S:
            return False
        self._said_s[wording] = now_s
        return True


_SELDOM = LogThrottle()


def quiet_aiokafka() -> None:
    """For the whole process; calling it again changes nothing."""
    for name in LOGGERS:
        logging.getLogger(name).addFilter(_SELDOM)
