"""The Kafka that a command works on: the cluster of `SEGUE_KAFKA`, or else the local broker."""

from collections.abc import Callable

from segue.streams.kafka.provisioning import reach
from segue.streams.settings import Settings


async def ensure_cluster(settings: Settings, say: Callable[[str], None]) -> None:
    """Return when Kafka answers; the local broker is started for that, and needs the extra `local`.

    Raises `Unavailable` with what to do, or `MissingExtra`.
    """
    if settings.kafka is not None:
        await reach(settings)
        return
    from segue.streams.local.broker import ensure_broker

    await ensure_broker(settings, say)
