"""Gives an answer, and sees what becomes of it.

What the question's schema tells is checked before anything is sent. A workflow's own type may check more,
where the task runs: then the answer is a dead letter with the reason, and the question stays open. So there
is a look at both for a moment, and whoever answered is told.
"""

import asyncio
import hashlib
from collections.abc import Awaitable, Callable

from streams.answers import question_for
from streams.letters import document, topic_of
from streams.page.forms import VALUE, Form, answer_in
from streams.page.rendering import Refused
from streams.page.source import Source
from topics import codec
from topics.errors import BadInput, BadRecord, UnknownName
from topics.records import Answered, Question

LOOKS_S = (0.05, 0.1, 0.15, 0.2, 0.5, 1.0)
"""Between looks at whether an answer has been taken: a worker does it within milliseconds."""

LETTERS_LOOKED_AT_S = 0.2
"""From this long a wait on the dead letters are looked at too, which takes longer."""

Outcome = Refused | str
"""Of a form: why it was refused, or the word for what it came to."""


async def answered(source: Source, task: str, step: int | None, form: Form, name: str) -> Outcome:
    async def answer() -> str:
        question = question_for(await source.status(task), step)
        value = answer_in(question, form)
        given = f"page/{question.step}/{_digest(form)}"  # pressed twice, it counts once
        await source.answer(task, value, question.step, given, name or None)
        return await _taken(source, question, given)

    return await tried(task, answer, form, step)


def _digest(form: Form) -> str:
    filled_in = [field for field in sorted(form.items()) if field[0].startswith(("option", VALUE))]
    return hashlib.sha256(repr(filled_in).encode()).hexdigest()[:16]


async def tried(task: str, act: Callable[[], Awaitable[str]], form: Form, step: int | None = None) -> Outcome:
    try:
        return await act()
    except (BadInput, UnknownName) as error:
        return Refused(task, step, str(error), form)


async def _taken(source: Source, question: Question, given: str) -> str:
    """Raises `BadInput` if the workflow did not accept it."""
    for wait_s in LOOKS_S:
        await asyncio.sleep(wait_s)
        status = await source.status(question.task)
        if question.step not in [each.step for each in status.questions]:
            return "answered"
        if wait_s >= LETTERS_LOOKED_AT_S and (objection := await _objection(source, question.task, given)):
            raise BadInput(objection)
    return "sent"


async def _objection(source: Source, task: str, given: str) -> str | None:
    for letter in await source.letters():
        if letter.key != task.encode() or topic_of(letter) != "events":
            continue
        try:
            event = codec.decode("events", letter.value)
        except BadRecord:
            continue
        if isinstance(event, Answered) and event.id == given:
            return str(document(letter)["reason"])
    return None
