"""The offsets of an effect stage: which calls are unfinished, and what a commit tells of them.

    taken ─▶ record: has a commit room for it? ─▶ delivered ─▶ finished ─▶ commit
                        └ no: the partition takes no new calls until a commit has room again

A broker may take less metadata than the one before it, so that calls which an earlier commit named do not
fit. Their results then wait until enough of them have ended.
"""

import logging
from collections.abc import Iterable, Mapping

from aiokafka.structs import TopicPartition

from segue.streams.kafka.consumer_group import Group
from segue.streams.kafka.offsets.encoding import METADATA_BYTES_MAX
from segue.streams.kafka.offsets.tracker import OffsetTracker
from segue.streams.kafka.positions import Committed
from segue.streams.kafka.producer import Offsets
from segue.streams.observability.metrics import Metrics
from segue.topics.errors import Unavailable

log = logging.getLogger(__name__)

METADATA_BYTES_MIN = 64
"""With less a commit names some ten calls."""


class CallOffsets:
    def __init__(self, stage: str, metrics: Metrics) -> None:
        self._stage = stage
        self._metrics = metrics
        self._bytes_max = METADATA_BYTES_MAX
        self._full: set[TopicPartition] = set()
        """Partitions that take no new calls."""
        self.progress: dict[TopicPartition, OffsetTracker] = {}

    async def take(
        self,
        group: Group,
        partitions: Mapping[TopicPartition, Committed],
        starts: Mapping[TopicPartition, int],
    ) -> None:
        """Begin where the group has committed. Raises `Unavailable` if the broker takes too little
        metadata."""
        self._bytes_max = await group.metadata_bytes_max() or self._bytes_max
        if self._bytes_max < METADATA_BYTES_MIN:
            raise Unavailable(
                f"the brokers take {self._bytes_max} bytes of metadata with an offset, which can't name the "
                f"unfinished calls: set their offset.metadata.max.bytes to {METADATA_BYTES_MAX}"
            )
        self.progress = {
            tp: OffsetTracker(starts[tp] if at.offset is None else at.offset, at.metadata, self._bytes_max)
            for tp, at in partitions.items()
        }

    def clear(self) -> None:
        self.progress.clear()
        self._full.clear()

    def has_room(self, group: Group, tp: TopicPartition, offset: int) -> bool:
        """Whether the record may be delivered; if not, its partition is held back."""
        progress = self.progress[tp]
        if progress.has_room(offset):
            return True
        group.hold(tp, offset)
        self._full.add(tp)
        self._metrics.full_partitions(self._stage, len(self._full))
        log.warning(
            "stage %s: %s/%d takes no new calls for the moment: its %d unfinished ones fill the metadata of "
            "a commit (%d bytes, the brokers' offset.metadata.max.bytes)",
            *(self._stage, tp.topic, tp.partition, progress.unfinished, self._bytes_max),
        )
        return False

    def finished(self, records: Iterable[tuple[TopicPartition, int]]) -> Offsets | None:
        """Return what to commit now that these have ended; None if no broker would take it yet."""
        ended: dict[TopicPartition, OffsetTracker] = {}
        for tp, offset in records:
            self.progress[tp].finish(offset)
            ended[tp] = self.progress[tp]
        offsets = {tp: progress.commit() for tp, progress in ended.items()}
        longest = _longest(offsets)
        if longest <= self._bytes_max:
            return offsets
        log.warning(
            "stage %s: results wait until more calls have ended: a commit needs %d bytes of metadata, and "
            "the brokers take %d (offset.metadata.max.bytes)",
            *(self._stage, longest, self._bytes_max),
        )
        return None

    def committed(self, group: Group) -> None:
        """Partitions that have room again take new calls."""
        for tp in [tp for tp in self._full if self.progress[tp].has_ample_room]:
            self._full.discard(tp)
            group.resume(tp)
        self._metrics.full_partitions(self._stage, len(self._full))

    def refused(self, offsets: Offsets) -> None:
        """The broker does not take so much metadata, and may not say what it takes."""
        longest = _longest(offsets)
        self._bytes_max = max(METADATA_BYTES_MIN, longest // 2)
        log.error(
            "stage %s: the broker refused %d bytes of metadata: its offset.metadata.max.bytes is lower. From "
            "now on commits take at most %d. Set it to %d, or let workers read it (DescribeConfigs on the "
            "cluster)",
            *(self._stage, longest, self._bytes_max, METADATA_BYTES_MAX),
        )


def _longest(offsets: Offsets) -> int:
    return max((len(at.metadata) for at in offsets.values()), default=0)
