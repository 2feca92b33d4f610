"""Keeps what is told of a call, in place of Kafka."""

from segue.streams.calls.token_stream import TokenPublisher
from segue.topics.records import CallModel, Record
from segue.topics.tokens import Tokens


class Kept:
    def __init__(self) -> None:
        self.records: list[Tokens] = []

    def tell(self, topic: str, key: str, record: Record, tenant: str | None = None) -> None:
        assert isinstance(record, Tokens)
        assert (topic, key, tenant) == ("tokens", record.task, "acme")
        self.records.append(record)

    @property
    def text(self) -> str:
        return "".join(record.text for record in self.records)


def telling(call: CallModel, by: str, kept: Kept) -> TokenPublisher:
    """Keeps what the call writes."""
    return TokenPublisher(kept, call, by, "acme")
