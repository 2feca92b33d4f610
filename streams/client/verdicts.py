"""Whether an answer counted: a question takes one, and whoever gave another is told that it came too late.

questions     its closing names the answer that counted
dead-letters  the answer, with the reason why the task did not accept it
"""

import asyncio
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from typing import Self

from aiokafka import TopicPartition

from segue.processors.formatting import preview
from segue.processors.views.steps import label_of
from segue.streams.client.dead_letters import reason_of, topic_of
from segue.streams.client.history import CLOCK_SKEW_MS
from segue.streams.kafka.reader import Offsets, Reader
from segue.topics import codec
from segue.topics.errors import BadInput, BadRecord, TooLate
from segue.topics.flow import Received
from segue.topics.records import Answer, Answered, Question, QuestionClosed

TAKEN_S_MAX = 5.0
"""A worker takes an answer within milliseconds; after this it is time to say that none does."""


@dataclass(frozen=True)
class Verdict:
    """What becomes of one answer. `starts` names the topics that this principal may see."""

    reader: Reader
    starts: Offsets
    question: Question
    answer: Answer

    @classmethod
    async def awaited(cls, reader: Reader, question: Question, answer: Answer) -> Self:
        """Call it before the answer is sent: the question may have been closed by then."""
        starts: dict[TopicPartition, int] = {}
        if reader.exists("questions"):
            asked = reader.partition_of("questions", question.task)
            starts |= await reader.at_time([asked], question.at_ms - CLOCK_SKEW_MS)
        if reader.exists("dead-letters"):
            starts |= await reader.ends([reader.partition_of("dead-letters", question.task)])
        return cls(reader, starts, question, answer)

    async def counts(self) -> bool:
        """Wait some seconds until it is told, and return whether it counts. Raises as `has_counted` does."""
        if not self.starts:
            return False
        key = self.question.task.encode()
        with suppress(TimeoutError):
            async with asyncio.timeout(TAKEN_S_MAX):
                async for record in self.reader.tail(self.starts):
                    if record.key == key and has_counted([record], self.question, self.answer):
                        return True
        return False


ASKED_NO_MORE = {"expired": "nobody had answered in time", "ended": "the task no longer asks"}


def has_counted(records: Iterable[Received], question: Question, answer: Answer) -> bool:
    """Return whether the records say that it counted; False if they do not say what became of it.

    Raises `TooLate` if another answer counted, or none could any more, and `BadInput` if it was not accepted.
    """
    for record in records:
        told = _verdict_in(record)
        match told:
            case QuestionClosed(step=question.step):
                if told.answer is not None and told.answer.id == answer.id:
                    return True
                raise TooLate(f"your answer came too late: {_why(told, question)}")
            case Answered(id=answer.id):
                raise BadInput(reason_of(record))
            case _:
                pass
    return False


def _verdict_in(record: Received) -> QuestionClosed | Answered | None:
    topic = record.topic if record.topic == "questions" else topic_of(record)
    try:
        told = codec.decode(topic, record.value) if topic in ("questions", "events") else None
    except BadRecord:
        return None
    return told if isinstance(told, QuestionClosed | Answered) else None


def _why(closed: QuestionClosed, question: Question) -> str:
    if closed.answer is None:
        return ASKED_NO_MORE.get(closed.reason, "the question is closed")
    by = f"{closed.answer.by} had" if closed.answer.by else "somebody had"
    return f"{by} answered {preview(label_of(question, closed.answer.value))!r}"
