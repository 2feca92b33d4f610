"""Workers with bugs of the kinds that the harness is for, planted from outside: the product has no switch.

    python -m chaos.planted BUG APP

Each bug replaces one method of one class in this process, and then runs the real worker. The tests show that
the audit catches each (`make chaos-planted`).
"""

import asyncio
import sys
from collections.abc import Callable, Iterable
from typing import Any

from segue.processors.stages.conduct import Conduct
from segue.processors.stages.delay import Delays
from segue.streams.cli import main
from segue.streams.engine.pure_runner import PureRunner
from segue.streams.kafka.broker_clock import now_ms
from segue.streams.kafka.committer import Acknowledgements
from segue.streams.kafka.producer import Ends, Offsets
from segue.streams.kafka.protocol import Membership
from segue.streams.kafka.record_batches import Outgoing
from segue.streams.state.store import Empty
from segue.topics.flow import Decision, Received

LOSES_S = 0.1
"""How long the bugs below leave things half done: long enough for a kill to find them so."""


def commit_before_acknowledgement() -> None:
    """At least once: offsets first, then what they stand for. A kill between the two loses it."""
    right = Acknowledgements.commit

    async def commit(
        self: Acknowledgements,
        records: Iterable[Outgoing],
        offsets: Offsets,
        membership: Membership,
        now_ms: int,
    ) -> Ends:
        await right(self, [], offsets, membership, now_ms)
        await asyncio.sleep(LOSES_S)
        return await right(self, records, {}, membership, now_ms)

    Acknowledgements.commit = commit  # type: ignore[method-assign]


def no_deduplication() -> None:
    """conduct begins a task anew whenever it is told that it was submitted."""
    right: Any = Conduct._begin  # pyright: ignore[reportPrivateUsage]

    def begin(self: Any, event: Any, record: Received, now_ms: int) -> Decision:
        find, ended = self._find, self._marks.has_ended
        self._find = self._marks.has_ended = _nothing
        try:
            decision: Decision = right(self, event, record, now_ms)
        finally:
            self._find, self._marks.has_ended = find, ended
        return decision

    Conduct._begin = begin  # type: ignore[method-assign]  # pyright: ignore[reportPrivateUsage]


def _nothing(*_: Any) -> None:
    return None


def state_before_its_transaction() -> None:
    """RocksDB is written first: a kill before the transaction leaves state of what nobody published."""
    runner: Any = PureRunner
    right = runner._commit

    async def commit(self: Any, *arguments: Any) -> None:
        for partition in self._partitions.values():
            if partition.store is not None:
                partition.store.commit(partition.store.offset, now_ms())
        await asyncio.sleep(LOSES_S)
        await right(self, *arguments)

    runner._commit = commit


def timers_in_memory_only() -> None:
    """Timers do not move with their partition: whoever takes it over knows none of them."""

    class Forgetful(Empty):
        def __init__(self) -> None:
            self.held: dict[bytes, bytes] = {}

        def scan(self, prefix: bytes, start: bytes = b"") -> Any:
            return iter(sorted((k, v) for k, v in self.held.items() if k.startswith(prefix)))

    right, handle, tick = Delays.__init__, Delays.handle, Delays.tick

    def begin(self: Delays, _: Any) -> None:
        right(self, Forgetful())

    def kept(decide: Callable[..., Decision]) -> Any:
        def decided(self: Any, *arguments: Any) -> Decision:
            decision = decide(self, *arguments)
            for key, value in decision.write:
                if value is None:
                    self._state.held.pop(key, None)
                else:
                    self._state.held[key] = value
            return Decision(decision.publish)

        return decided

    Delays.__init__ = begin  # type: ignore[method-assign, assignment]
    Delays.handle = kept(handle)  # type: ignore[method-assign]
    Delays.tick = kept(tick)  # type: ignore[method-assign]


BUGS: dict[str, Callable[[], None]] = {
    bug.__name__: bug
    for bug in (
        commit_before_acknowledgement,
        no_deduplication,
        state_before_its_transaction,
        timers_in_memory_only,
    )
}

if __name__ == "__main__":
    BUGS[sys.argv.pop(1)]()
    sys.argv.insert(1, "worker")
    main()
