"""From what stages decide to what Kafka takes: names on the cluster, partitions, bytes, headers.

All topics are co-partitioned, so a record with the same key as its cause goes to the partition of the same
number. That holds only for causes whose partition was chosen here: what comes from outside may have been put
anywhere (librdkafka's default partitioner is not Java's), so its key is hashed anew, as Java's clients do.
"""

# aiokafka is annotated only in part.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false

from collections.abc import Callable
from contextlib import suppress
from functools import cache, lru_cache
from typing import NamedTuple

from aiokafka.structs import TopicPartition
from pydantic_core import PydanticSerializationError

from segue.streams.kafka.partitioner import partition_of
from segue.streams.kafka.record_batches import Outgoing
from segue.streams.security.encryption import keys_of
from segue.streams.settings import Settings
from segue.topics import codec, contracts
from segue.topics.codec import RECORD_DEPTH_MAX
from segue.topics.contracts import RECORD_BYTES_MAX
from segue.topics.flow import (
    TENANT,
    Decision,
    Headers,
    Plain,
    Publish,
    Received,
    Write,
    dead_letter,
    is_moved,
    of_tenant,
    tenant_in,
    trace_of,
)
from segue.topics.records import CallTool, Problem, Record

RECORD_OVERHEAD_BYTES = 100
"""Offsets, lengths and the batch's own header, generously."""


_ONLY_OURS = ((), (codec.CONTENT_TYPE,))
"""The headers of most records: nothing in them to pass on."""


Aside = Callable[[Received, str, str, int], Decision]


class Unfit(Exception):
    """A record can't be written, or would be refused by its topic or by those who read it."""

    @property
    def problem(self) -> Problem:
        return Problem(type=type(self).__name__, message=str(self), retryable=False)


class TooLarge(Unfit):
    pass


class NoText(Unfit):
    """Text with half of a surrogate pair, as Python has it of file names that are no UTF-8."""


class Asked(NamedTuple):
    """A call that is made before its commit; `publish` is how others would have been asked to make it."""

    publish: Publish
    call: CallTool
    cause: Received
    tenant: str | None


class Outbox:
    """The records of one commit, in order. `published` are the same as the stages decided them.

    `local` are calls whose outcomes belong to them.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._keys = keys_of(settings)
        self.published: list[Publish] = []
        self.records: list[Outgoing] = []
        self.local: list[Asked] = []

    def add(
        self, decision: Decision, cause: Received | None, changelog: TopicPartition | None = None
    ) -> list[Write]:
        """All of `decision` or, if a record of it does not fit, nothing. Raises `Unfit`.

        Returns the changes of the state as they stand on the changelog, sealed if there are keys.
        """
        passed = () if cause is None or cause.headers in _ONLY_OURS else trace_of(cause)
        if decision.tenant is not None:
            passed = _on_behalf_of(decision.tenant, passed)
        records = [self._outgoing(publish, cause, passed, decision.tenant) for publish in decision.publish]
        writes = decision.write
        if writes:
            assert changelog is not None, "a stage without a changelog has no state to write"
            if self._keys is not None:
                writes = self._sealed(writes, changelog, passed)
            records += [
                _limited(Outgoing(changelog, *write, [], is_state=True), RECORD_BYTES_MAX) for write in writes
            ]
        self.records += records
        self.published += decision.publish
        return writes

    def add_outcome(
        self,
        decision: Decision,
        cause: Received,
        instead: Callable[[Problem], Decision] | None,
        stage: str,
        now_ms: int,
        aside: Aside | None = None,
    ) -> None:
        """What came of a call; if that does not fit on its topic, that it does not; else a dead letter.

        `aside` makes what follows from that letter.
        """
        try:
            self.add(decision, cause)
            return
        except Unfit as unfit:
            problem = unfit.problem
        with suppress(Unfit):
            if instead is not None:
                self.add(instead(problem), cause)
                return
        with suppress(Unfit):
            if aside is not None:
                self.add(aside(cause, stage, problem.message, now_ms), cause)
                return
        self.add(Decision([dead_letter(cause, stage, problem.message, now_ms)]), cause)

    def _outgoing(
        self, publish: Publish, cause: Received | None, passed: Headers, tenant: str | None
    ) -> Outgoing:
        key = publish.key.encode()
        partition = self._partition(key, cause) if publish.partition is None else publish.partition
        to = _target(self._settings.topic(publish.topic), partition)
        value, headers = _body(publish, passed, tenant)
        if publish.topic != "dead-letters" and codec.too_deep(value or b"", RECORD_DEPTH_MAX):
            raise TooLarge(
                f"a record nested deeper than {RECORD_DEPTH_MAX} could not be read from {to.topic!r}"
            )
        if self._keys is not None:
            record = Outgoing(to, key, *self._keys.sealed(publish.topic, key, value, headers))
        else:
            record = Outgoing(to, key, value, headers)
        return _limited(record, contracts.BY_NAME[publish.topic].record_bytes_max)

    def _sealed(self, writes: list[Write], changelog: TopicPartition, passed: Headers) -> list[Write]:
        assert self._keys is not None
        topic, tenant = changelog.topic.removeprefix(self._settings.topic_prefix), tenant_in(passed)
        return [
            write
            if write.value is None or isinstance(write, Plain)
            else Write(write.key, self._keys.seal(topic, write.key, write.value, tenant))
            for write in writes
        ]

    def _partition(self, key: bytes, cause: Received | None) -> int:
        if cause is None or cause.key != key or comes_from_outside(cause.topic):
            return partition_of(key, self._settings.partitions)
        if cause.headers not in _ONLY_OURS and is_moved(cause):
            return partition_of(key, self._settings.partitions)
        return cause.partition


def _on_behalf_of(tenant: str, passed: Headers) -> Headers:
    others = tuple(header for header in passed if header[0] != TENANT)
    return (*others, *of_tenant(tenant))


def _body(
    publish: Publish, passed: Headers, tenant: str | None
) -> tuple[bytes | None, list[tuple[str, bytes]]]:
    if isinstance(publish.value, Record):
        own = publish.headers or passed
        try:
            return codec.encode(publish.value), [codec.CONTENT_TYPE, *own]
        except PydanticSerializationError as error:
            raise NoText(f"it can't be written to {publish.topic!r}: {error}") from None
    own = publish.headers  # a dead letter's are those of the record, which may not know the tenant
    return publish.value, list(own if tenant is None else _on_behalf_of(tenant, own))


@cache
def _target(topic: str, partition: int) -> TopicPartition:
    return TopicPartition(topic, partition)


@lru_cache
def comes_from_outside(topic: str) -> bool:
    return "outside" in contracts.BY_NAME[topic].written_by


def _limited(record: Outgoing, most: int) -> Outgoing:
    size = len(record.key or b"") + len(record.value or b"") + RECORD_OVERHEAD_BYTES
    for name, value in record.headers:  # a sum over a generator takes four times as long
        size += len(name) + len(value)
    if size > most:
        raise TooLarge(
            f"a record of {size:,} bytes does not fit on {record.to.topic!r}, which takes {most:,}"
        )
    return record
