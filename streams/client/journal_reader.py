"""The journal of an open task, read from conduct's changelog: all that remains of a log that has expired."""

from aiokafka import TopicPartition

from segue.processors.tasks.journal import journal_entry
from segue.streams.kafka.reader import Reader
from segue.topics import codec
from segue.topics.flow import Received
from segue.topics.records import Event


async def journal_of(task: str, reader: Reader, changelog: TopicPartition) -> list[Received]:
    """Its entries as records of `events`, numbered below all real ones; none if the task is not open.

    Reads the whole partition: the changelog is made to be restored, not to be searched.
    """
    values: dict[int, bytes] = {}
    ends = await reader.ends([changelog])
    async for record in reader.read(await reader.beginnings([changelog]), ends):
        entry = journal_entry(task, record.key or b"", record.value)
        if entry is not None and entry.event is not None:
            values[entry.seq] = entry.event
        elif entry is not None:
            values.pop(entry.seq, None)
    return [_as_event(task, changelog.partition, seq - len(values), values[seq]) for seq in sorted(values)]


def _as_event(task: str, partition: int, offset: int, value: bytes) -> Received:
    event: Event = codec.decode("events", value)
    return Received("events", partition, offset, task.encode(), value, (), event.at_ms)
