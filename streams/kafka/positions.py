"""Where a stage reads on, and what is gone from its topics before it was read.

committed offset, or 0 ─▶ below the partition's first offset? what lies between was removed: a `Loss`
the offset was not committed by Segue ─▶ it may have been set forward, past records that nobody read: a `Loss`
a stage with state ─▶ its state knows how far it has come, and it reads on from there if that is less
"""

# aiokafka is annotated only in part.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false

import logging
from collections.abc import Container, Mapping
from typing import Any, NamedTuple

from aiokafka.structs import TopicPartition

from segue.streams.kafka.broker_clock import now_ms as clock_ms
from segue.streams.kafka.offsets.tracker import is_own

log = logging.getLogger(__name__)


class Committed(NamedTuple):
    """What the group has committed for a partition; `offset` is None if nothing."""

    offset: int | None
    metadata: str

    @property
    def by_others(self) -> bool:
        """Whether somebody else set the offset: an operator who reset it, for example."""
        return self.offset is not None and not is_own(self.offset, self.metadata)


class Loss(NamedTuple):
    """Records of `topic`, by its contract's name, that are gone without having been read.

    They were written before `before_ms`; their offsets began at `start` and ended before `end`. Both are the
    same where nobody knows how many records they were.
    """

    at: TopicPartition
    topic: str
    start: int
    end: int
    before_ms: int


class Positions:
    """Those of one session of a stage. `names` are the contracts' names of its topics."""

    def __init__(self, consumer: Any, names: Mapping[str, str], stage: str, group: str) -> None:
        self._consumer = consumer
        self._names = names
        self._stage = stage
        self._group = group
        self.losses: list[Loss] = []

    async def starts(
        self, partitions: Mapping[TopicPartition, Committed], *, stateless: bool
    ) -> dict[TopicPartition, int]:
        """Where to read on: the committed offset, or the partition's first record if that is behind it.

        `take_losses` tells of what was removed between them; of a stage that is `stateless` also where an
        offset was set by others, for nothing else says up to where the stage had read.
        """
        first = await self._consumer.beginning_offsets(list(partitions))
        starts = {tp: at.offset or 0 for tp, at in partitions.items()}
        for tp, offset in starts.items():
            if offset < first[tp]:
                await self._lose(tp, offset, first[tp])
            elif stateless and partitions[tp].by_others:
                self._distrust(tp, offset)
        return {tp: max(offset, first[tp]) for tp, offset in starts.items()}

    def take_losses(self, served: Container[TopicPartition]) -> list[Loss]:
        """What was lost since the last time, on partitions that are served."""
        losses = [loss for loss in self.losses if loss.at in served]
        self.losses = [loss for loss in self.losses if loss.at not in served]
        return losses

    async def resumed(self, tp: TopicPartition, start: int, handled: int | None) -> int:
        """Where to read on, if the state says up to which offset records were handled: it knows better.

        Offsets that were set forward by hand would pass over records that open tasks wait for.
        """
        if handled is None or handled >= start:
            return start
        log.warning(
            "stage %s: the offset of group %s on %s/%d was moved forward to %d, but records from %d on "
            "were not processed yet: the stage reads them now",
            *(self._stage, self._group, tp.topic, tp.partition, start, handled),
        )
        first = (await self._consumer.beginning_offsets([tp]))[tp]
        if handled < first:
            await self._lose(tp, handled, first)
        return max(handled, int(first))

    async def written_since_ms(self, tp: TopicPartition) -> int:
        """All that was written to the partition since then is still there."""
        before_ms = clock_ms()
        found = await self._consumer.offsets_for_times({tp: 0})
        first = found.get(tp)
        return before_ms if first is None else min(before_ms, int(first.timestamp))

    async def pass_over(self, positions: Mapping[TopicPartition, int]) -> None:
        """What was to be read there is gone: removed, or the topic is another one by now."""
        first = await self._consumer.beginning_offsets(list(positions))
        for tp, offset in positions.items():
            await self._lose(tp, offset, first[tp])
            self._consumer.seek(tp, first[tp])

    def _distrust(self, tp: TopicPartition, offset: int) -> None:
        """Whether it was set forward or back, and from where, nobody knows."""
        log.error(
            "stage %s: the offset of group %s on %s/%d was set to %d by another program than Segue: records "
            "before it may never have been read. Segue requests the calls and timers of "
            "open tasks again, but "
            "not requests and signals: send those again with `segue topics redrive`",
            *(self._stage, self._group, tp.topic, tp.partition, offset),
        )
        self.losses.append(Loss(tp, self._names[tp.topic], offset, offset, clock_ms()))

    async def _lose(self, tp: TopicPartition, start: int, end: int) -> None:
        loss = Loss(tp, self._names[tp.topic], start, end, await self.written_since_ms(tp))
        log.error(
            "stage %s: records of %s were removed before it read them: it continues partition %d at %d "
            "instead of %d. Raise the topic's retention.ms, and keep workers running",
            *(self._stage, tp.topic, tp.partition, end, start),
        )
        self.losses.append(loss)
