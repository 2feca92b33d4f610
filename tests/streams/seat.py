"""A seat in a group and a committer in memory, for tests of the runners."""

import asyncio
from collections.abc import AsyncGenerator, Callable, Iterable, Mapping
from contextlib import asynccontextmanager
from types import SimpleNamespace
from typing import Any, NamedTuple

import pytest
from aiokafka.structs import OffsetAndMetadata, TopicPartition

from segue.streams.kafka.consumer_group import Batch, Owner
from segue.streams.kafka.positions import Committed, Loss
from segue.streams.kafka.protocol import Membership, Replaced
from segue.streams.kafka.record_batches import Outgoing
from segue.topics.flow import Received

NOTHING = OffsetAndMetadata(0, "")

WAITS_S_MAX = 20
"""For what happens at once, on a machine that is busy."""


class Commit(NamedTuple):
    records: list[Outgoing]
    offsets: dict[TopicPartition, int]


class Seat:
    def __init__(self) -> None:
        self.membership = Membership("group", 1, "member")
        self.ready = asyncio.Event()
        self.is_held = True
        self.served: dict[TopicPartition, int] = {}
        self.held: dict[TopicPartition, int] = {}
        """Partitions that are held back, and where they go on."""
        self.metadata_bytes: int | None = None
        self.refuses: BaseException | None = None
        """What commits raise."""
        self.losses: list[Loss] = []
        self.commits: list[Commit] = []
        self.polls: list[int] = []
        """How many records each poll asked for."""
        self.positions = self
        self.client = SimpleNamespace()
        self._batches: asyncio.Queue[Batch | BaseException] = asyncio.Queue()
        self._committed = asyncio.Event()

    async def metadata_bytes_max(self) -> int | None:
        return self.metadata_bytes

    def hold(self, partition: TopicPartition, offset: int) -> None:
        self.held[partition] = offset

    def resume(self, partition: TopicPartition) -> None:
        self.held.pop(partition)

    async def commit(
        self,
        records: Iterable[Outgoing],
        offsets: Mapping[TopicPartition, OffsetAndMetadata],
        membership: Membership,
        now_ms: int,
    ) -> dict[TopicPartition, int]:
        if self.refuses is not None:
            raise self.refuses
        self.commits.append(Commit(list(records), {tp: at.offset for tp, at in offsets.items()}))
        self._committed.set()
        return {}

    # ------------------------------------------------------------ what tests do

    async def takes(self, owner: Owner, metadata_bytes: int, at: OffsetAndMetadata = NOTHING) -> None:
        """The partition is assigned anew, by a broker that takes so much metadata."""
        self.metadata_bytes = metadata_bytes
        await owner.take({TopicPartition("tool-calls", 0): Committed(at.offset, at.metadata)})

    def give(self, *records: Received) -> None:
        """Let a poll return them, all of one partition."""
        self._batches.put_nowait({TopicPartition(records[0].topic, records[0].partition): list(records)})

    def fail(self, error: BaseException) -> None:
        """Let a poll end the session."""
        self._batches.put_nowait(error)

    async def committed(self, number: int) -> list[Commit]:
        """Return the first commits, when there are so many."""
        async with asyncio.timeout(WAITS_S_MAX):
            while len(self.commits) < number:
                self._committed.clear()
                await self._committed.wait()
        return self.commits[:number]

    # ------------------------------------------------------------ what `Group` does

    async def poll(self, wait_ms: int, records_max: int) -> Batch:
        self.polls.append(records_max)
        try:
            async with asyncio.timeout(min(wait_ms, 10) / 1000):
                got = await self._batches.get()
        except TimeoutError:
            return {}
        if isinstance(got, BaseException):
            raise got
        return got

    def serve(self, partition: TopicPartition, offset: int) -> None:
        self.served[partition] = offset

    async def ensure_held(self) -> None:
        if not self.is_held:
            raise Replaced("the partitions are another's")

    async def until_held(self) -> None: ...

    async def lags(self, in_hand: Mapping[TopicPartition, int]) -> list[tuple[str, int, int]]:
        return [(tp.topic, tp.partition, count) for tp, count in in_hand.items()]

    # ------------------------------------------------------------ what `Positions` does

    async def starts(
        self, partitions: Mapping[TopicPartition, Committed], **_: bool
    ) -> dict[TopicPartition, int]:
        return {tp: at.offset or 0 for tp, at in partitions.items()}

    async def resumed(self, tp: TopicPartition, start: int, handled: int | None) -> int:
        return start

    def take_losses(self, served: Any) -> list[Loss]:
        taken, self.losses = self.losses, []
        return taken


def seated(monkeypatch: pytest.MonkeyPatch, module: Any) -> Callable[[], Seat]:
    """Let the runner of the module sit here. Returns a function that gives the seat of its next session."""
    seats: list[Seat] = []

    @asynccontextmanager
    async def session(*_: Any) -> AsyncGenerator[tuple[Seat, Seat]]:
        yield seats[-1], seats[-1]

    def seat() -> Seat:
        seats.append(Seat())
        return seats[-1]

    monkeypatch.setattr(module, "session", session)
    return seat
