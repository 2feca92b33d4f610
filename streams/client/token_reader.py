"""Reads what the models of one task write, while they write it: `tokens`, up to the task's result."""

from collections.abc import AsyncIterator

from aiokafka import TopicPartition

from segue.processors.views.token_stream import Piece, Writing
from segue.streams.kafka.reader import Reader
from segue.topics import codec
from segue.topics.errors import BadRecord
from segue.topics.flow import Received


async def listen(
    reader: Reader, task: str, since_ms: int, after: int | None, *, ended: bool
) -> AsyncIterator[Piece]:
    """From when the task began, or behind the offset `after`; of one that has `ended`, what is kept.

    The result is looked for from the task's beginning on: it may be there before anybody says that it ended.
    """
    if not reader.exists("tokens"):
        return
    place, results = reader.partition_of("tokens", task), reader.partition_of("results", task)
    writing, key = Writing(), task.encode()
    begins = await _start(reader, place, since_ms, after)
    if not ended:
        starts = {place: begins} | await reader.at_time([results], since_ms)
        async for record in reader.tail(starts):
            if record.key == key and record.topic == "results":
                break
            if record.topic == "tokens":
                begins = record.offset + 1
                if record.key == key and (piece := _piece(writing, record)) is not None:
                    yield piece
    async for record in reader.read({place: begins}, await reader.ends([place])):
        if record.key == key and (piece := _piece(writing, record)) is not None:
            yield piece


async def _start(reader: Reader, place: TopicPartition, since_ms: int, after: int | None) -> int:
    """What is older than the topic keeps is gone, and what lies behind its end is not there yet."""
    firsts, ends = await reader.beginnings([place]), await reader.ends([place])
    if after is None:
        found = await reader.at_time([place], since_ms)
        return min(found[place], ends[place])
    return max(after + 1, firsts[place])


def _piece(writing: Writing, record: Received) -> Piece | None:
    """What can't be read is a newer worker's, or sealed with a key that is not here."""
    try:
        return writing.piece(codec.decode("tokens", record.value), record.offset)
    except BadRecord:
        return None
