"""Kafka, as its readers and writers can tell: logs with transactions, and groups with generations.

A record of a transaction stands on its partition at once; readers of committed records see up to the first
one of a transaction that is open (the last stable offset), and skip what was aborted. A transaction ends by
a marker on each partition, and each is written in its own time after the decision. The offsets of a
transaction become its group's with the group's own marker; until then they are pending.
"""

import asyncio
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import count
from typing import Any, NamedTuple

from aiokafka.errors import IllegalGenerationError, UnknownMemberIdError
from aiokafka.structs import OffsetAndMetadata, TopicPartition

from tests.simulation.world import Process, World

TRANSACTION_TIMEOUT_S = 10.0
"""As `segue.streams.kafka.producer` asks for it."""

MARKER_S_MAX = 0.02

NO_GENERATION = -1
"""Kafka does not check the membership of a request that names no generation."""


@dataclass(eq=False)
class Transaction:
    producer: "Producing"
    ended: "asyncio.Future[None]"
    """Done when the last marker is written."""
    state: str = "open"
    partitions: list[TopicPartition] = field(default_factory=list[TopicPartition])
    offsets: dict[tuple["Group", TopicPartition], tuple[int, OffsetAndMetadata]] = field(
        default_factory=dict[tuple["Group", TopicPartition], tuple[int, OffsetAndMetadata]]
    )
    """With their place in the group's own log."""


@dataclass
class Producing:
    """What the broker knows of a producer's id."""

    id: int
    epoch: int = 0
    transaction: Transaction | None = None

    @property
    def is_ending(self) -> bool:
        """The markers of its transaction are not all written yet."""
        last = self.transaction
        return last is not None and last.state != "open" and not last.ended.done()


class Entry(NamedTuple):
    """`by` is who wrote it; None stands for the marker of a transaction."""

    by: str | None
    key: bytes | None
    value: bytes | None
    headers: tuple[tuple[str, bytes], ...]
    timestamp: int
    transaction: Transaction | None

    @property
    def counts(self) -> bool:
        """Is a record, and committed."""
        return self.by is not None and (self.transaction is None or self.transaction.state == "committed")


class Log:
    """One partition of a topic."""

    def __init__(self) -> None:
        self.entries: list[Entry] = []
        self.open: dict[Transaction, int] = {}
        """The first offset of each transaction without its marker here."""
        self.waiters: set[asyncio.Future[None]] = set()
        self.written: dict[tuple[int, int, int], int] = {}
        """The offset of each batch, by its producer's id and epoch and the batch's number."""
        self.sequences: dict[tuple[int, int], int] = {}
        """The number that the next batch must have, by its producer's id and epoch."""

    def end(self, committed: bool) -> int:
        return min(self.open.values()) if committed and self.open else len(self.entries)

    def append(self, entry: Entry) -> int:
        if entry.transaction is not None and entry.by is not None:
            self.open.setdefault(entry.transaction, len(self.entries))
        self.entries.append(entry)
        self._wake()
        return len(self.entries) - 1

    def mark(self, transaction: Transaction) -> None:
        self.open.pop(transaction, None)
        self.append(Entry(None, None, None, (), 0, transaction))

    def _wake(self) -> None:
        for waiter in self.waiters:
            if not waiter.done():
                waiter.set_result(None)
        self.waiters.clear()


class Broker:
    def __init__(self, world: World, partitions: int, new_transactions: bool) -> None:
        self.world = world
        self.partitions = partitions
        self.logs: dict[TopicPartition, Log] = defaultdict(Log)
        self.has_new_transactions = new_transactions
        self.producing: dict[int, Producing] = {}
        self.named: dict[str, Producing] = {}
        self.groups: dict[str, Group] = {}
        self.on_commit: Callable[[Group, TopicPartition, OffsetAndMetadata, Process], None] = _nothing
        self.on_wrong_number: Callable[[str], None] = _nothing
        """Called for a batch that is refused for its number: a producer never counts wrongly."""
        """Told of what is about to be committed for a group's partition, and by whom."""

    def group(self, name: str) -> "Group":
        if name not in self.groups:
            self.groups[name] = Group(self, name)
        return self.groups[name]

    def records(self, topic: str, committed: bool = True) -> Iterator[tuple[TopicPartition, int, Entry]]:
        """Partition, offset and record, of all that stand on the topic."""
        for number in range(self.partitions):
            tp = TopicPartition(topic, number)
            for offset, entry in enumerate(self.logs[tp].entries):
                if entry.by is not None and (entry.counts or not committed):
                    yield tp, offset, entry

    # ------------------------------------------------------------ transactions

    def introduce(self, name: str | None) -> Producing:
        """A producer takes the name: who had it before is fenced, and what that had open is aborted."""
        producing = self.named.get(name or "")
        if producing is None:
            producing = self.producing[len(self.producing)] = Producing(len(self.producing))
        if name is not None:
            self.named[name] = producing
        if producing.transaction is not None and producing.transaction.state == "open":
            self.end(producing.transaction, "aborted")
        producing.epoch += not producing.is_ending
        return producing

    def begin(self, producing: Producing) -> Transaction:
        transaction = Transaction(producing, self.world.loop.create_future())
        producing.transaction = transaction
        self.world.later(TRANSACTION_TIMEOUT_S, lambda: self._time_out(transaction))
        return transaction

    def _time_out(self, transaction: Transaction) -> None:
        if transaction.state == "open":
            transaction.producer.epoch += 1
            self.end(transaction, "aborted")

    def end(self, transaction: Transaction, how: str) -> None:
        """Decided; the markers follow, each in its own time."""
        transaction.state = how
        left = [*transaction.partitions, None]

        def marked(what: TopicPartition | None) -> None:
            if what is not None:
                self.logs[what].mark(transaction)
            else:
                self._settle_offsets(transaction)
            left.remove(what)
            if not left:
                transaction.ended.set_result(None)

        for what in left:
            self.world.later(self.world.chance.random() * MARKER_S_MAX, lambda what=what: marked(what))  # type: ignore[misc]

    def _settle_offsets(self, transaction: Transaction) -> None:
        for (group, tp), (place, at) in transaction.offsets.items():
            group.pending[tp].discard(transaction)
            if transaction.state == "committed":
                group.settle(tp, place, at)


BROKER: list[Broker] = []
"""The one of the seed that runs."""


def _nothing(*_: Any) -> None: ...


# ---------------------------------------------------------------- groups


class Group:
    """A consumer group: who is in it, who has which partitions, and what was committed.

    A generation ends when somebody joins, leaves or is not heard of; the next begins when all members have
    joined anew, or those that did not within the rebalance timeout are gone. A static member that joins again
    under its instance id takes the place of the old one, and the generation goes on.
    """

    def __init__(self, broker: Broker, name: str) -> None:
        self.broker = broker
        self.name = name
        self.generation = 0
        self.members: dict[str, Any] = {}
        self.owners: dict[TopicPartition, str] = {}
        self.offsets: dict[TopicPartition, OffsetAndMetadata] = {}
        self.pending: dict[TopicPartition, set[Transaction]] = defaultdict(set)
        self.moves: Counter[TopicPartition] = Counter()
        """How often each partition has gone to another process."""
        self._had: dict[TopicPartition, Process | None] = {}
        self._places = count(1)
        self._settled: Counter[TopicPartition] = Counter()
        self._joined: dict[str, asyncio.Future[None]] = {}
        self.instances: dict[str, str] = {}
        """The member that has each instance id."""
        self.heard_s: dict[str, float] = {}
        """When each member last sent a heartbeat of its own, besides those in the background."""
        self.rebalancing = False

    def join(self, member: str, consumer: Any, instance: str | None = None) -> "asyncio.Future[None]":
        """Done when the generation begins that the member is in."""
        before = self.instances.get(instance or "")
        if instance is not None:
            self.instances[instance] = member
        if before is not None and before != member and self._replace(before, member, consumer):
            unchanged: asyncio.Future[None] = self.broker.world.loop.create_future()
            unchanged.set_result(None)
            return unchanged
        self.members[member] = consumer
        waiting = self._joined[member] = self.broker.world.loop.create_future()
        self._prepare()
        self._begin_if_all_joined()
        return waiting

    def _replace(self, before: str, member: str, consumer: Any) -> bool:
        """Whether the generation goes on, with the new member in the place of the old one."""
        replaced = self.members.pop(before, None)
        self._joined.pop(before, None)
        if replaced is None:
            return False
        replaced.rejoin()
        if self.rebalancing:
            return False
        self.members[member] = consumer
        self.owners = {tp: member if owner == before else owner for tp, owner in self.owners.items()}
        self._note_moves()
        return True

    def remove(self, member: str) -> None:
        """It has left, or its session is over."""
        self.instances = {instance: each for instance, each in self.instances.items() if each != member}
        if (consumer := self.members.pop(member, None)) is None:
            return
        self._joined.pop(member, None)
        consumer.rejoin()
        if self.members:
            self._prepare()
            self._begin_if_all_joined()
        else:
            self.generation += 1
            self.owners, self.rebalancing = {}, False

    def check(self, member: str, generation: int, in_transaction: bool) -> None:
        """Raises as Kafka refuses a member that the group has gone on without."""
        if generation == NO_GENERATION and (not self.members or (in_transaction and not member)):
            return
        if member not in self.members:
            raise UnknownMemberIdError
        if generation != self.generation:
            raise IllegalGenerationError

    def owner(self, tp: TopicPartition) -> "Process | None":
        consumer = self.members.get(self.owners.get(tp, ""))
        return consumer.process if consumer is not None else None

    def commit(self, offsets: Mapping[TopicPartition, OffsetAndMetadata], process: Process) -> None:
        for tp, at in offsets.items():
            self.broker.on_commit(self, tp, at, process)
            self.settle(tp, next(self._places), at)

    def pend(
        self,
        offsets: Mapping[TopicPartition, OffsetAndMetadata],
        process: Process,
        transaction: Transaction,
    ) -> None:
        for tp, at in offsets.items():
            self.broker.on_commit(self, tp, at, process)
            self.pending[tp].add(transaction)
            transaction.offsets[self, tp] = next(self._places), at

    def settle(self, tp: TopicPartition, place: int, at: OffsetAndMetadata) -> None:
        """What was said last counts, in whichever order the markers come."""
        if place > self._settled[tp]:
            self._settled[tp] = place
            self.offsets[tp] = at

    def _prepare(self) -> None:
        if self.rebalancing:
            return
        self.rebalancing = True
        generation, timeout_s = self.generation, self.broker.world.rebalance_timeout_s
        self.broker.world.later(timeout_s, lambda: self._drop_absent(generation))
        for member, consumer in self.members.items():
            if member not in self._joined:
                consumer.rejoin()

    def _drop_absent(self, generation: int) -> None:
        if self.rebalancing and self.generation == generation:
            for member in [member for member in self.members if member not in self._joined]:
                self.members.pop(member).rejoin()
                self.instances = {name: each for name, each in self.instances.items() if each != member}
            self._begin_if_all_joined()

    def _begin_if_all_joined(self) -> None:
        if not (self.rebalancing and self.members and self._joined.keys() >= self.members.keys()):
            return
        self.generation += 1
        self.rebalancing = False
        self.owners = {
            tp: member for member in self.members for tp in self._range(member, sorted(self.members))
        }
        self._note_moves()
        joined, self._joined = self._joined, {}
        for waiting in joined.values():
            if not waiting.done():
                waiting.set_result(None)

    def _note_moves(self) -> None:
        for tp in self.owners:
            if (owner := self.owner(tp)) is not self._had.get(tp, owner):
                self.moves[tp] += 1
            self._had[tp] = owner

    def _range(self, member: str, members: list[str]) -> Iterator[TopicPartition]:
        """The range assignor's share: each topic's partitions in a row, the first members have one more."""
        place, (share, extra) = members.index(member), divmod(self.broker.partitions, len(members))
        start = share * place + min(place, extra)
        for topic in self.members[member].topics:
            for number in range(start, start + share + (place < extra)):
                yield TopicPartition(topic, number)
