"""Removes the objects of tasks that ended long ago, so that none outlives its task for ever.

A task's objects go when the newest of them is older than `object_retention_s`, and neither the task nor one
that it is a child of is open or ended within that time, as `status` says. So a parent finds what its
child made, and `segue show` what the records refer to, as long as the topics keep those. What a crash left
without a record goes the same way: nothing is kept about an object but its own time.

Workers that run `conduct` do it, each for the partitions that it serves.
"""

import asyncio
import logging
from collections.abc import Callable, Collection, Iterable

from mode import Service

from segue.streams.kafka.broker_clock import now_ms
from segue.streams.kafka.reader import Reader
from segue.streams.object_store.store import Objects
from segue.streams.settings import Settings
from segue.topics import codec
from segue.topics.errors import BadRecord
from segue.topics.flow import Received
from segue.topics.records import ENDED, Status

log = logging.getLogger(__name__)

PERIODS = 24
"""A task's objects are kept by so much longer, one part of it, than they must be."""

PERIOD_S_MAX = 6 * 60 * 60.0
FIRST_S_MAX = 60.0


class Sweeper(Service):
    """`partitions` tells which are this worker's now."""

    def __init__(
        self, settings: Settings, objects: Objects, partitions: Callable[[], Collection[int]]
    ) -> None:
        self._settings = settings
        self._objects = objects
        self._partitions = partitions
        super().__init__()  # pyright: ignore[reportUnknownMemberType] # mode annotates in part

    async def on_start(self) -> None:
        self._sweeping = asyncio.create_task(self._run())

    async def on_stop(self) -> None:
        self._sweeping.cancel()

    async def _run(self) -> None:
        period_s = min(PERIOD_S_MAX, max(1.0, self._settings.object_retention_s / PERIODS))
        await asyncio.sleep(min(period_s, FIRST_S_MAX))
        while True:
            try:
                removed = await sweep(self._settings, self._objects, self._partitions())
                if removed:
                    log.info("removed the objects of %d tasks that ended long ago", removed)
            except Exception as error:  # noqa: BLE001 - the store or Kafka is away: the next time will do
                log.warning("objects of ended tasks could not be removed: %s; Segue tries again later", error)
            await asyncio.sleep(period_s)


async def sweep(settings: Settings, objects: Objects, partitions: Iterable[int]) -> int:
    """Removes what has expired on these partitions, and returns of how many tasks."""
    before_s = now_ms() / 1000 - settings.object_retention_s
    old = await asyncio.to_thread(_old, objects, list(partitions), before_s)
    if not old:
        return 0
    kept = await _needed(settings, {name for task in old for name in lineage(task)}, before_s * 1000)
    expired = [task for task in old if kept.isdisjoint(lineage(task))]
    for task in expired:
        await asyncio.to_thread(objects.remove, task)
    return len(expired)


def lineage(task: str) -> list[str]:
    """The task and all that it may be a child of: `a/1/2`, `a/1`, `a`."""
    parts = task.split("/")
    return ["/".join(parts[:count]) for count in range(len(parts), 0, -1)]


def _old(objects: Objects, partitions: list[int], before_s: float) -> list[str]:
    objects.remove_spools(before_s)
    every = (found for partition in partitions for found in objects.tasks(partition))
    return [task for task, newest_s in every if newest_s < before_s]


async def _needed(settings: Settings, tasks: Collection[str], before_ms: float) -> set[str]:
    """Those of `tasks` that are open, or ended since. Reads `status` through; it holds each task once."""
    needed: dict[str, bool] = {}
    async with Reader(settings) as reader:
        places = reader.partitions("status")
        async for record in reader.read(await reader.beginnings(places), await reader.ends(places)):
            if (task := (record.key or b"").decode(errors="replace")) in tasks:
                needed[task] = record.timestamp_ms >= before_ms or _is_open(record)
    return {task for task, still in needed.items() if still}


def _is_open(record: Received) -> bool:
    """A status that can't be read is of a tenant whose key is gone, and so are its objects."""
    if record.value is None:
        return False
    try:
        status: Status = codec.decode("status", record.value)
    except BadRecord:
        return False
    return status.state not in ENDED
