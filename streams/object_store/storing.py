"""Stores what a decision refers to, before it is committed.

A store that does not answer holds up the tasks that need it, and no others: what they asked for is put aside
(see `segue.processors.stages.put_aside`), so they are parked, and tried again a while later.
"""

import asyncio
import logging
import time

from segue.streams.object_store.store import Objects
from segue.streams.process.recent_names import RecentNames
from segue.topics.descriptions import text_of
from segue.topics.errors import SegueError
from segue.topics.flow import Decision, StoredObject

log = logging.getLogger(__name__)

STORED_S_MAX = 10.0
"""For one object: all tasks of the worker wait meanwhile."""

REST_S = 15.0
"""How long a store that failed is not asked again."""

REMEMBERED_MAX = 10_000
"""Names of objects that were stored: most of a conversation is in the next request too."""

REMEMBERED_S_MAX = 60 * 60.0
"""An object is removed `object_retention_s` after its task ended, and stored when it is needed again."""


class NotStored(Exception):
    """The store did not take an object. `str` says why."""


class Storing:
    """The store as `conduct` writes to it for the tasks of one partition."""

    def __init__(self, objects: Objects) -> None:
        self._objects = objects
        self._stored = RecentNames(REMEMBERED_MAX, min(REMEMBERED_S_MAX, objects.kept_s / 2))
        self._failed = ""
        self._rests_until_s = 0.0
        self._refused = False

    async def store(self, decision: Decision) -> None:
        """Returns when all that the decision refers to is in the store. Raises `NotStored`."""
        for publish in decision.publish:
            for each in publish.objects:
                await self._store(each)

    def is_due_again(self) -> bool:
        """Whether something was not stored, and the store may be asked again. True once."""
        if not self._refused or time.monotonic() < self._rests_until_s:
            return False
        self._refused = False
        return True

    async def _store(self, stored: StoredObject) -> None:
        if stored.object in self._stored:
            return
        if time.monotonic() < self._rests_until_s:
            self._refused = True
            raise NotStored(self._failed)
        await self._put(stored)
        self._stored.add(stored.object)

    async def _put(self, stored: StoredObject) -> None:
        try:
            async with asyncio.timeout(STORED_S_MAX):
                await asyncio.to_thread(self._objects.keep, stored)
        except (SegueError, TimeoutError) as error:
            why = text_of(error) or f"the object store did not answer within {STORED_S_MAX:g} s"
            self._failed = f"{why}: the task goes on once the store takes what it passes on"
            self._refused, self._rests_until_s = True, time.monotonic() + REST_S
            log.warning("conduct: %s", self._failed)
            raise NotStored(self._failed) from error
