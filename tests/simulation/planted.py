"""Bugs of the kinds that the simulation is for: each replaces a piece of the product, in its own process.

The first four are those that the chaos harness must catch too.
"""

import inspect
import sys
import textwrap
from collections.abc import Callable, Iterable
from typing import Any

from chaos import planted
from segue.streams.engine.effect_runner import EffectRunner
from segue.streams.engine.pure_runner import PureRunner
from segue.streams.kafka.committer import Acknowledgements, Transactions
from segue.streams.kafka.offsets.encoding import METADATA_BYTES_MAX
from segue.streams.kafka.offsets.tracker import OffsetTracker, committed
from segue.streams.kafka.producer import Ends, Offsets
from segue.streams.kafka.protocol import Membership
from segue.streams.kafka.record_batches import Identity, Outgoing
from segue.streams.kafka.static_member import Lease
from tests.simulation import requests
from tests.simulation.broker import Broker
from tests.simulation.consumer import Consumer
from tests.simulation.world import Process


def zombies_are_not_fenced() -> None:
    """A transaction does not say in which generation its records were read."""
    right = Transactions.commit

    async def commit(
        self: Transactions,
        records: Iterable[Outgoing],
        offsets: Offsets,
        membership: Membership,
        now_ms: int,
    ) -> Ends:
        return await right(self, records, offsets, Membership(membership.group, -1, ""), now_ms)

    Transactions.commit = commit  # type: ignore[method-assign]


def pending_offsets_are_not_awaited() -> None:
    """A new owner begins while a transaction of the old one, with newer offsets, is still to be committed."""
    key = 9
    answer, told = requests.ANSWERS[key]

    def any_offsets(broker: Broker, process: Process, asked: Any) -> Any:
        asked.require_stable = False
        return answer(broker, process, asked)

    requests.ANSWERS[key] = any_offsets, told


def aborted_records_are_read() -> None:
    right = Consumer.__init__

    def begin(self: Consumer, **options: Any) -> None:
        right(self, **options | {"isolation_level": "read_uncommitted"})

    Consumer.__init__ = begin  # type: ignore[method-assign]


def progress_is_forgotten() -> None:
    """The metadata of a commit is not read: calls behind an unfinished one are made again."""
    right = OffsetTracker.__init__

    def begin(
        self: OffsetTracker, offset: int, metadata: str = "", chars_max: int = METADATA_BYTES_MAX
    ) -> None:
        right(self, offset, "", chars_max)

    OffsetTracker.__init__ = begin  # type: ignore[method-assign]


def offsets_pass_unfinished_calls() -> None:
    OffsetTracker.commit = lambda self: committed(self.high)  # type: ignore[method-assign]


def state_is_sent_with_the_outputs() -> None:
    """At least once: a changelog may say that something happened whose records are lost."""

    async def commit(
        self: Any, records: Iterable[Outgoing], offsets: Offsets, membership: Membership, now_ms: int
    ) -> Ends:
        records = list(records)
        state = [record for record in records if record.is_state]
        ends = await right(self, state, {}, membership, now_ms)
        outputs = [record for record in records if not record.is_state]
        return ends | await right(self, outputs, offsets, membership, now_ms)

    right = Acknowledgements.commit
    Acknowledgements.commit = commit  # type: ignore[method-assign]


def calls_are_forgotten_in_a_rebalance() -> None:
    """They go on, but nobody knows of them when their records come again."""
    runner: Any = EffectRunner
    right = runner._suspend

    def suspend(self: Any) -> None:
        right(self)
        self._calls.clear()

    runner._suspend = suspend


def calls_that_wait_take_room() -> None:
    """A stage that is full when its group rebalances never reads again, and its calls never end."""
    runner: Any = EffectRunner

    def room_left(self: Any) -> int:
        return int(self._stage.in_flight_max - len(self._calls) - len(self._finished))

    runner._room_left = room_left


def split_commits_pass_the_rest_of_their_batch() -> None:
    """A commit in the middle of a batch says that the whole batch was handled."""
    _rewrite(PureRunner, "_handle", "offsets[tp] = _after(record)", "offsets[tp] = _after(records[-1])")


def batches_outlive_a_rebalance() -> None:
    """Records that were fetched before a rebalance are handled after it, with what came since."""
    _rewrite(PureRunner, "_fetch", "group.membership is not fetched_as", "False")
    _rewrite(PureRunner, "_poll", "group.membership is fetched_as", "True")


def outcomes_outlive_a_rebalance() -> None:
    """Calls that finished before a rebalance are published after it, before their records are read again."""
    _rewrite(EffectRunner, "_suspend", "self._finished.clear()", "pass")


def sequence_numbers_are_skipped() -> None:
    """A batch is numbered one higher than the end of the batch before: brokers refuse it."""
    _rewrite(Identity, "_closed", "+= count", "+= count + 1")


def sequence_numbers_come_again() -> None:
    """A batch has the number of the last record before it: brokers refuse it, or take it for known."""
    _rewrite(Identity, "_closed", "+= count", "+= count - 1")


def _rewrite(owner: type, method: str, right: str, wrong: str) -> None:
    """Replace a piece of a method's source, which must be there once."""
    source = textwrap.dedent(inspect.getsource(getattr(owner, method)))
    assert source.count(right) == 1, f"{owner.__name__}.{method} has no single {right!r} any more"
    made: dict[str, Any] = {}
    exec(source.replace(right, wrong), vars(sys.modules[owner.__module__]), made)
    setattr(owner, method, made[method])


def leases_never_end() -> None:
    """A worker that was frozen goes on with what it had fetched, though others have it by then."""
    Lease.holds = lambda self: True  # type: ignore[method-assign]


BUGS: dict[str, Callable[[], None]] = planted.BUGS | {
    bug.__name__: bug
    for bug in (
        zombies_are_not_fenced,
        pending_offsets_are_not_awaited,
        aborted_records_are_read,
        progress_is_forgotten,
        offsets_pass_unfinished_calls,
        state_is_sent_with_the_outputs,
        calls_are_forgotten_in_a_rebalance,
        calls_that_wait_take_room,
        split_commits_pass_the_rest_of_their_batch,
        batches_outlive_a_rebalance,
        outcomes_outlive_a_rebalance,
        sequence_numbers_are_skipped,
        sequence_numbers_come_again,
        leases_never_end,
    )
}
