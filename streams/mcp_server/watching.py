"""One call, from when its task is known until there is something to return.

    records of the task ─┐                       ┌▶ progress
    answers to its forms ─┼▶ one line, in order ─┼▶ forms, where a question opens; withdrawn, where it closes
    nothing, for a while ─┘                      └▶ the result; or, that it waits for somebody

Whatever is returned, the task goes its own way: it can be asked for again by its id.
"""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import anyio
from mcp_types import ElicitResult

from segue.processors.app.app import App
from segue.processors.payloads.values import jsonable
from segue.processors.views.timeline import Timeline
from segue.processors.views.timeline_events import TimelineEvent
from segue.streams.client.answers import check_answer
from segue.streams.client.client import Client
from segue.streams.mcp_server.caller import STATE, Answer, Caller, asking_back, refusal
from segue.streams.mcp_server.forms import answer_in
from segue.streams.mcp_server.listing import ANSWER, RESULT, TASK_ID
from segue.topics import codec
from segue.topics.errors import BadInput, TooLate, UnknownName
from segue.topics.flow import Received
from segue.topics.records import ENDED, Question, Status

ALIVE_EVERY_S = 10.0
"""Clients end a call without messages; many wait for one minute after each message."""

BY = "mcp"
"""Who answered, on the record."""

STOP_S_MAX = 5.0

LEFT_OUT = {"v", "kind", "task", "workflow", "at_ms"}
"""Of a question, in the `_meta` of a result: what the client knows."""


class Watching:
    """`asks`: whose questions are put to the client, None for everybody's. `wait_s`: return after that."""

    def __init__(
        self,
        app: App,
        client: Client,
        task: str,
        caller: Caller,
        asks: frozenset[str] | None,
        wait_s: float | None,
    ) -> None:
        self._client = client
        self._task = task
        self._caller = caller
        self._asks = asks
        self._until_s = anyio.current_time() + wait_s if wait_s is not None else None
        self._timeline = Timeline(task, {name: route.names for name, route in app.routes.items()})
        self._line: asyncio.Queue[Received | Exception | Question | None] = asyncio.Queue()
        self._put: dict[int, asyncio.Task[None] | None] = {}
        """Steps whose questions were put to the client; with the form, where one is shown."""
        self._refused: dict[int, str] = {}

    async def to_the_end(self) -> Answer | None:
        """Return what the call returns instead of the result, or None if the task has ended."""
        for step, filled in self._caller.answers.items():
            if not await self._take(step, filled):
                return await self._waits()
        async with self._reading():
            while True:
                happened = await self._next()
                match happened:
                    case None:
                        return None
                    case Exception():
                        raise happened
                    case TimeoutPassed():
                        return self._still_runs()
                    case Question():
                        return await self._waits()
                    case Received():
                        if (answer := await self._apply(happened)) is not None:
                            return answer

    # ------------------------------------------------------------ what happens

    @asynccontextmanager
    async def _reading(self) -> AsyncGenerator[None]:
        """The task's records go into the line, until there is something to return."""
        reading = asyncio.create_task(self._read())
        try:
            yield
        finally:
            ending = [reading, *(form for form in self._put.values() if form is not None)]
            for each in ending:
                each.cancel()
            with anyio.CancelScope(shield=True):
                await asyncio.wait(ending, timeout=STOP_S_MAX)

    async def _read(self) -> None:
        try:
            async for record in self._client.follow(self._task):
                self._line.put_nowait(record)
            self._line.put_nowait(None)
        except Exception as error:  # noqa: BLE001 - told to whoever waits for the next record
            self._line.put_nowait(error)

    async def _next(self) -> "Received | Exception | Question | TimeoutPassed | None":
        while True:
            left_s = self._until_s - anyio.current_time() if self._until_s is not None else ALIVE_EVERY_S
            if left_s <= 0:
                return TimeoutPassed()
            with anyio.move_on_after(min(left_s, ALIVE_EVERY_S)):
                return await self._line.get()
            await self._caller.tell(self._where())

    async def _apply(self, record: Received) -> Answer | None:
        if event := self._timeline.apply(record):
            await self._caller.tell(_sentence(event))
        if record.topic != "status" or record.value is None:
            return None
        told: Status = codec.decode("status", record.value)
        if told.state == "parked" and (answer := await self._is_parked()) is not None:
            return answer
        return await self._ask() if told.questions or self._put else None

    def _where(self) -> str:
        if self._timeline.started_ms is None:
            return "no worker has taken the task up yet"
        names = ", ".join(step.name for step in self._timeline.running)
        return f"still at {names}" if names else "still there, and waiting"

    # ------------------------------------------------------------ questions

    async def _ask(self) -> Answer | None:
        """By the latest status, since the record at hand may be of long ago."""
        open_now = await self._questions()
        for step in self._put.keys() - {question.step for question in open_now}:
            if (form := self._put[step]) is not None:
                form.cancel()
        new = [question for question in open_now if question.step not in self._put]
        if not new:
            return None
        if not self._caller.has_a_person:
            return await self._waits()
        if not self._caller.answers_at_once:
            return asking_back(self._task, new, self._refused)
        self._put |= {question.step: asyncio.create_task(self._fill_in(question)) for question in new}
        return None

    async def _questions(self) -> list[Question]:
        try:
            status = await self._client.status(self._task)
        except UnknownName:
            return []
        return [each for each in status.questions if self._asks is None or each.to in self._asks]

    async def _fill_in(self, question: Question) -> None:
        """Show the form until the answer fits."""
        try:
            while not await self._take(
                question.step, await self._caller.ask(question, self._refused.get(question.step))
            ):
                if question.step not in self._refused:
                    self._line.put_nowait(question)
                    return
        except Exception as error:  # noqa: BLE001 - told to whoever waits for the next record
            self._line.put_nowait(error)

    async def _take(self, step: int, filled: ElicitResult) -> bool:
        """Whether the question is done with: answered, here or elsewhere. If not: declined, or refused."""
        self._refused.pop(step, None)
        question = next((each for each in await self._questions() if each.step == step), None)
        if question is None:
            return True
        if filled.action != "accept":
            return False
        try:
            value = answer_in(question, dict(filled.content or {}))
            check_answer(question, jsonable(value))
        except BadInput as error:
            self._refused[step] = str(error)
            return not self._caller.answers_at_once  # there it is asked again by the next status
        self._put[step] = None
        try:
            await self._client.answer(self._task, value, step, by=BY)
        except TooLate as late:
            await self._caller.tell(str(late))
        except BadInput as error:  # the workflow's own type checks more than the form
            self._put.pop(step)
            self._refused[step] = str(error)
            return not self._caller.answers_at_once
        return True

    # ------------------------------------------------------------ returning early

    async def _waits(self) -> Answer:
        asked = await self._questions()
        how = f"answer it with {ANSWER}({TASK_ID}={self._task!r}, answer=…), and wait with {RESULT}"
        lines = [_as_text(question) for question in asked]
        why = f"task {self._task!r} goes on when its question is answered: {' | '.join(lines)}; {how}"
        about = [question.model_dump(mode="json", exclude=LEFT_OUT) for question in asked]
        return refusal(why, self._task, about={STATE: "waiting", "segue/questions": about})

    async def _is_parked(self) -> Answer | None:
        """By the latest status, as in `_ask`. Nobody knows how long it takes until its code is mended."""
        status = await self._client.status(self._task)
        if status.state != "parked":
            return None
        problem = status.problem.message if status.problem else "its code does not fit"
        later = f"then wait for it with {RESULT}"
        why = f"task {self._task!r} is parked until its code is fixed; {later}: {problem}"
        return refusal(why, self._task, about={STATE: "parked"})

    def _still_runs(self) -> Answer:
        why = f"task {self._task!r} has not ended, {self._where()}: it goes on; wait for it with {RESULT}"
        return refusal(why, self._task, about={STATE: "running"})


class TimeoutPassed:
    """The call has reached its time limit."""


def has_ended(status: Status | None) -> bool:
    return status is not None and status.state in ENDED


def _sentence(event: TimelineEvent) -> str:
    return " ".join(part for part in (event.what, event.name, event.by, event.text) if part)


def _as_text(question: Question) -> str:
    options = ", ".join(option.label for option in question.options)
    return f"{question.to} is asked '{question.text.strip()}'" + (f" ({options})" if options else "")
