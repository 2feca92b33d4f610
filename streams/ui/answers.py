"""Gives an answer, and says what became of it.

What the question's schema tells is checked before anything is sent. A workflow's own type may check more,
where the task runs; somebody else may have been quicker. The source says whether the answer counted.
"""

import hashlib
from collections.abc import Awaitable, Callable

from segue.streams.client.answers import question_for
from segue.streams.ui.forms import VALUE, Form, answer_in
from segue.streams.ui.rendering import RejectedAnswer
from segue.streams.ui.source import Source
from segue.topics.errors import BadInput, UnknownName

Outcome = RejectedAnswer | str
"""Of a form: why it was refused, or the word for what it came to."""


async def answered(source: Source, task: str, step: int | None, form: Form, name: str) -> Outcome:
    async def answer() -> str:
        question = question_for(await source.status(task), step)
        value = answer_in(question, form)
        given = f"page/{question.step}/{_digest(form)}"  # pressed twice, it counts once
        return "answered" if await source.answer(task, value, question.step, given, name or None) else "sent"

    return await tried(task, answer, form, step)


def _digest(form: Form) -> str:
    filled_in = [field for field in sorted(form.items()) if field[0].startswith(("option", VALUE))]
    return hashlib.sha256(repr(filled_in).encode()).hexdigest()[:16]


async def tried(task: str, act: Callable[[], Awaitable[str]], form: Form, step: int | None = None) -> Outcome:
    try:
        return await act()
    except (BadInput, UnknownName) as error:
        return RejectedAnswer(task, step, str(error), form)
