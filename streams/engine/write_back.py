"""Writes a store back to its changelog, where that was deleted: the store is then the only copy of the state.

    changelog empty, another topic than the store's ─▶ has the store come as far as the group's offsets?
        yes ─▶ all of its entries are written, in one transaction ─▶ the store belongs to the new changelog
        no  ─▶ it is older than what was lost: it is not used (see `rebuilding`), and the log says so

Until the transaction ends nobody else can read the changelog: a worker that takes the partition over
meanwhile waits for its end, and one that crashed here begins again.
"""

import asyncio
import logging
import sys
from collections.abc import Mapping
from pathlib import Path

from aiokafka.structs import TopicPartition

from segue.streams.engine.losses import handled_up_to
from segue.streams.kafka.broker_clock import now_ms
from segue.streams.kafka.positions import Committed
from segue.streams.kafka.producer import Ends, Producer
from segue.streams.kafka.protocol import Membership
from segue.streams.kafka.record_batches import Outgoing
from segue.streams.security.encryption import keys_of
from segue.streams.settings import Settings
from segue.streams.state.store import Changelog, Mark, Store, open_store

log = logging.getLogger(__name__)

NEVER_MS = sys.maxsize
"""The time of an entry that no `SEGUE_CLEAR_UNTIL` covers."""

WRITTEN_S_MAX = 300.0
"""About a gigabyte; brokers allow transactions of up to 15 minutes (`transaction.max.timeout.ms`)."""


class WritingBack:
    """For the stores of one stage on this worker; `committed` are the offsets of its group."""

    def __init__(
        self, settings: Settings, stage: str, worker: str, committed: Mapping[TopicPartition, Committed]
    ) -> None:
        self._settings = settings
        self._transactional_id = f"{settings.group(stage)}-{worker}-restore"
        self._committed = committed
        self._keys = keys_of(settings)

    async def __call__(self, path: Path, place: TopicPartition, found: Changelog) -> Changelog:
        """The changelog as it is then; `found` as it was, empty."""
        store = await asyncio.to_thread(open_store, path)
        try:
            if store.offset == 0 or store.mark.topic in (b"", found.topic):
                return found
            if not self._is_whole(store, place.partition):
                log.error(
                    "%s was deleted, and the state in %s is older than the deletion: this state is not used",
                    *(place.topic, path),
                )
                return found
            return await self._written(store, place, found)
        finally:
            store.close()

    def _is_whole(self, store: Store, number: int) -> bool:
        """Not where the group has no offsets: the store is another cluster's."""
        return all(
            at.offset is not None and at.offset <= (handled_up_to(store, self._name(tp)) or 0)
            for tp, at in self._committed.items()
            if tp.partition == number
        )

    def _name(self, tp: TopicPartition) -> str:
        return tp.topic.removeprefix(self._settings.topic_prefix)

    async def _written(self, store: Store, place: TopicPartition, found: Changelog) -> Changelog:
        entries = (self._sealed(self._name(place), *entry) for entry in store.all())
        records = [Outgoing(place, *entry, [], is_state=True) for entry in entries]
        begun_ms = now_ms()
        ends = await self._write(records, begun_ms)
        end = ends.get(place, 0)
        store.restore([], Mark(end, begun_ms, found.topic))
        log.warning(
            "%s was deleted: %d entries of partition %d were written back from this worker's state",
            *(place.topic, len(records), place.partition),
        )
        return found._replace(end=end)

    def _sealed(self, changelog: str, key: bytes, value: bytes) -> tuple[bytes, bytes]:
        """What this disk has in clear is from before the keys: nobody would believe it on a new changelog."""
        if self._keys is None or self._keys.believes(changelog, key, value, NEVER_MS):
            return key, value
        return key, self._keys.seal(changelog, key, value, None)

    async def _write(self, records: list[Outgoing], at_ms: int) -> Ends:
        transactional = self._settings.guarantee == "exactly_once"
        name = self._transactional_id if transactional else None
        producer = Producer(self._settings, name, whole_s=WRITTEN_S_MAX)
        try:
            await producer.start()
            if transactional:
                return await producer.transact(records, {}, Membership("", -1, ""), at_ms)
            return await producer.write(records, at_ms)
        finally:
            await producer.close()
