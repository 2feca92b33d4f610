"""A source of tasks for the page: all stages in memory, with what they left on their topics."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from typing import Any

import httpx

from segue.processors.views.token_stream import Piece
from segue.streams.client.answers import check_answer, question_for
from segue.streams.client.history import ended_how
from segue.streams.client.ids import new_id
from segue.streams.client.newest_records import Position
from segue.streams.client.verdicts import has_counted
from segue.streams.kafka.reader import in_order
from segue.streams.ui import Guard, Page, Place
from segue.streams.ui.dead_letters import DeadLetterPage, letter_of, part
from segue.streams.ui.index import Index
from segue.topics import codec
from segue.topics.contracts import LOG_TOPICS
from segue.topics.errors import BadInput, UnknownName
from segue.topics.flow import Received
from segue.topics.records import ENDED, Answer, Status
from tests.driver import Driver
from tests.page.app import app

URL = "http://127.0.0.1:9465"


class Played:
    def __init__(self) -> None:
        self.driver = Driver(app)
        self.pieces: list[Piece] = []
        self.works = True

    async def start(self, workflow: str, value: Any, task: str = "t", **more: Any) -> None:
        request = {"workflow": workflow, "input": value, "id": task, **more}
        self.driver.produce("tasks", request, task)
        await self.work()

    async def work(self) -> None:
        """In a thread: tools have an event loop of their own in memory."""
        self.driver.now_ms += 1
        if self.works:
            await asyncio.to_thread(self.driver.run, self.driver.now_ms + 1)

    async def index(self) -> Index:
        index = Index()
        for record in self.driver.logs["status"]:
            assert record.key is not None
            index.put(record.key.decode(), record.value)
        return index

    async def letters(self, before: Position | None = None) -> DeadLetterPage:
        placed = sorted(
            ((Position.of(each), each) for each in self.driver.logs["dead-letters"]), reverse=True
        )
        return part([(at, letter_of(each)) for at, each in placed if before is None or at < before])

    async def status(self, task: str) -> Status:
        status = (await self.index()).status(task)
        if status is None:
            raise UnknownName(f"no task {task!r}")
        return status

    async def history(self, task: str, run: int | None = None) -> list[Received]:
        found = [each for topic in LOG_TOPICS for each in self.driver.logs[topic]]
        return in_order(each for each in found if each.key == task.encode())

    async def follow(self, task: str) -> AsyncIterator[Received]:
        for record in await self.history(task):
            yield record

    async def tokens(self, task: str) -> AsyncIterator[Piece]:
        for piece in self.pieces:
            yield piece

    async def answer(
        self,
        task: str,
        value: Any,
        step: int | None = None,
        id: str | None = None,  # noqa: A002
        by: str | None = None,
    ) -> bool:
        question = question_for(await self.status(task), step)
        check_answer(question, value)
        given = {"kind": "answer", "task": task, "step": question.step, "value": value, "by": by}
        given["id"] = id or new_id()
        await self._tell(task, given)
        return has_counted(await self.history(task), question, Answer.model_validate(given))

    async def signal(self, task: str, name: str, value: Any = None) -> None:
        await self._open(task)
        await self._tell(task, {"kind": "signal", "task": task, "name": name, "value": value})

    async def cancel(self, task: str, reason: str = "cancelled on request", *, force: bool = False) -> None:
        await self._open(task)
        await self._tell(task, {"kind": "cancel", "task": task, "reason": reason, "force": force})

    async def _open(self, task: str) -> None:
        status = await self.status(task)
        if status.state in ENDED:
            raise BadInput(f"task {task!r} has ended: it {ended_how(status)}")

    async def _tell(self, task: str, signal: dict[str, Any]) -> None:
        self.driver.produce("signals", signal, task)
        await self.work()


def browser(
    source: Played, headers: Mapping[str, str] | None = None, *, read_only: bool = False
) -> httpx.AsyncClient:
    """As a browser asks: by the page's own address, and saying of its forms where they stand."""
    page = Guard(Page(source, read_only=read_only).app, Place("127.0.0.1", 9465))
    return httpx.AsyncClient(
        transport=httpx.ASGITransport(page),
        base_url=URL,
        headers={"Sec-Fetch-Site": "same-origin", "Origin": URL, **(headers or {})},
    )


def decoded(source: Played, topic: str) -> list[Any]:
    return [codec.decode(topic, record.value) for record in source.driver.logs[topic]]


def status(number: int, state: Any = "succeeded") -> Status:
    return Status(
        task=f"task-{number:06}",
        workflow=f"w{number % 3}",
        version=1,
        state=state,
        partition=0,
        offset=0,
        started_ms=number,
        at_ms=number,
    )
