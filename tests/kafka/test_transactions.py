"""In which order records become durable, on a real broker."""

import pytest
from aiokafka.errors import MessageSizeTooLargeError
from aiokafka.structs import OffsetAndMetadata, TopicPartition

from segue.streams.kafka.broker_clock import now_ms
from segue.streams.kafka.consumer_group import session
from segue.streams.kafka.provisioning import provision
from segue.streams.kafka.record_batches import Outgoing
from segue.streams.kafka.static_member import static_member
from segue.streams.settings import Settings
from tests.kafka.engine import read, until


class Nothing:
    async def take(self, partitions: object) -> None: ...

    async def release(self) -> None: ...


async def test_state_is_not_written_where_what_its_event_asked_for_was_refused(settings: Settings) -> None:
    """At least once: a redelivered event would else be known, and its records asked for by nobody."""
    settings = settings.model_copy(update={"guarantee": "at_least_once"})
    await provision(settings)
    refused = Outgoing(TopicPartition(settings.topic("results"), 0), b"k", b"v" * 2_000_000, [])
    state = Outgoing(TopicPartition(settings.topic("conduct-state"), 0), b"k", b"v", [], is_state=True)
    async with session(
        settings, "conduct", static_member(settings, "conduct", "w"), ["events"], Nothing()
    ) as (group, commits):
        await until(group.ready.is_set)
        offsets = {tp: OffsetAndMetadata(0, "") for tp in group.consumer.assignment()}
        with pytest.raises(MessageSizeTooLargeError):
            await commits.commit([refused, state], offsets, group.membership, now_ms())
        assert await read(settings, "conduct-state", 0, quiet_s=1.0) == []
