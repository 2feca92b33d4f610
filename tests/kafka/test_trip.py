"""The reference job, whole: real broker, real workers, real services; and the kills that it must survive."""

import asyncio
import signal
import sys
from collections.abc import AsyncGenerator, Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import httpx
import pytest_asyncio

from examples.travel.booking_service import ROOMS
from segue.streams.client.client import Client
from segue.streams.kafka.provisioning import provision
from segue.streams.settings import Settings
from segue.topics import codec
from segue.topics.errors import UnknownName
from segue.topics.records import CallTool, Question, Status
from tests.kafka.conftest import free_port, worker_environment
from tests.kafka.wire import Wire, wire

REQUEST = "find me a quiet beach hotel near Lisbon for the first week of October, under 200 a night"
ROOT = Path(__file__).parents[2]
PATIENCE_S = 120.0
T = TypeVar("T")


@dataclass
class Town:
    """The travel example in processes of its own: its services, and as many workers as the test starts.

    Workers call `booking` and `transfer` over wires that hold back answers when the test says so.
    """

    settings: Settings
    client: Client
    env: dict[str, str]
    booking_url: str
    transfer_url: str
    booking: Wire
    transfer: Wire
    processes: list[asyncio.subprocess.Process] = field(default_factory=list[asyncio.subprocess.Process])

    async def run(self, *module: str) -> asyncio.subprocess.Process:
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", *module, env=self.env, cwd=ROOT, stdout=asyncio.subprocess.DEVNULL
        )
        self.processes.append(process)
        return process

    async def worker(self) -> asyncio.subprocess.Process:
        return await self.run("segue.streams.cli", "worker", "examples/travel")

    async def bookings(self) -> list[dict[str, Any]]:
        return await self._listed(f"{self.booking_url}/bookings")

    async def transfers(self) -> list[dict[str, Any]]:
        return await self._listed(f"{self.transfer_url}/transfers")

    async def _listed(self, url: str) -> list[dict[str, Any]]:
        async with httpx.AsyncClient(trust_env=False) as http:
            return list((await http.get(url)).json())

    async def sell_out(self, offer: dict[str, Any]) -> None:
        """Others take every room of the offer's hotel for those nights."""
        body = {"reference": "others", "guests": 2, "total": 1.0, **offer["stay"]}
        body |= {"hotel_id": offer["hotel_id"], "hotel": offer["hotel"]}
        async with httpx.AsyncClient(trust_env=False, base_url=self.booking_url) as http:
            for number in range(ROOMS):
                headers = {"Idempotency-Key": f"others/{number}"}
                (await http.post("/bookings", json=body, headers=headers)).raise_for_status()

    async def question(self, task: str) -> Question:
        """The question that the task asks, as soon as it does."""
        status = await until(lambda: self._asking(task))
        return status.questions[0]

    async def asks_again(self, task: str, before: Question) -> Question | None:
        status = await self._asking(task)
        return next((q for q in status.questions if q.step != before.step), None) if status else None

    async def _asking(self, task: str) -> Status | None:
        found = [status for status in await self.client.statuses() if status.task == task]
        return found[0] if found and found[0].state == "waiting" else None


def url(port: int) -> str:
    return f"http://127.0.0.1:{port}"


async def until(look: Callable[[], Awaitable[T | None]]) -> T:
    async with asyncio.timeout(PATIENCE_S):
        while (found := await look()) is None:  # noqa: ASYNC110 - other processes have no event to set
            await asyncio.sleep(0.1)
        return found


@pytest_asyncio.fixture
async def town(settings: Settings) -> AsyncGenerator[Town]:
    await provision(settings)
    ports = [free_port(), free_port(), free_port()]
    env = worker_environment(settings) | {
        "TRAVEL_AVAILABILITY_PORT": str(ports[0]),
        "TRAVEL_BOOKING_PORT": str(ports[1]),
        "TRAVEL_TRANSFER_PORT": str(ports[2]),
    }
    async with Client(settings) as client, wire(ports[1]) as booking, wire(ports[2]) as transfer:
        env |= {"TRAVEL_BOOKING_URL": url(booking.port), "TRAVEL_TRANSFER_URL": url(transfer.port)}
        there = Town(settings, client, env, url(ports[1]), url(ports[2]), booking, transfer)
        await there.run("examples.travel.availability_service")
        await there.run("examples.travel.booking_service")
        await there.run("examples.travel.transfer_service")
        yield there
        for process in there.processes:
            if process.returncode is None:
                process.kill()
            await process.wait()


async def test_a_sentence_becomes_one_booking_and_none_before_the_pick(town: Town) -> None:
    await town.worker()
    task = await town.client.start("book_trip", REQUEST)
    question = await town.question(task)
    assert await town.bookings() == []
    await town.client.answer(task, question.options[1].value)
    result = await town.client.result(task, PATIENCE_S)
    assert result.outcome == "succeeded", result.problem
    [booking] = await town.bookings()
    assert (booking["reference"], booking["hotel_id"]) == (task, question.options[1].value["hotel_id"])


async def test_workers_killed_on_the_way_change_nothing(town: Town) -> None:
    """One dies while hotels are searched, one while the customer thinks; one when the transfer is reserved
    and one when the room is booked, before they can know.
    """
    worker = await town.worker()
    task = await town.client.start("book_trip", REQUEST)
    await until(lambda: calls_of(town, task, "hotel_search"))
    worker = await replaced(town, worker)
    question = await town.question(task)
    worker = await replaced(town, worker)
    town.transfer.hold()
    town.booking.hold()
    await town.client.answer(task, question.options[0].value)
    await until(lambda: some(town.transfers()))
    worker = await replaced(town, worker)
    town.transfer.release()
    await until(lambda: some(town.bookings()))
    await replaced(town, worker)
    town.booking.release()
    result = await town.client.result(task, PATIENCE_S)
    assert result.outcome == "succeeded", result.problem
    [booking] = await town.bookings()
    assert booking["hotel_id"] == question.options[0].value["hotel_id"]
    assert [transfer["status"] for transfer in await town.transfers()] == ["reserved"]


async def test_a_room_that_is_gone_undoes_the_transfer_once_in_spite_of_kills(town: Town) -> None:
    """The first pick is sold out. A worker dies when that is known, one while the transfer is cancelled."""
    worker = await town.worker()
    task = await town.client.start("book_trip", REQUEST)
    first = await town.question(task)
    gone, other = first.options[0].value, first.options[1].value
    await town.sell_out(gone)
    await town.client.answer(task, gone)
    await until(lambda: calls_of(town, task, "withdraw"))
    worker = await replaced(town, worker)
    await until(lambda: calls_of(town, task, "cancel_transfer"))
    await replaced(town, worker)
    second = await until(lambda: town.asks_again(task, first))
    await town.client.answer(task, other, second.step)
    result = await town.client.result(task, PATIENCE_S)
    assert result.outcome == "succeeded", result.problem
    assert [(t["hotel"], t["status"]) for t in await town.transfers()] == [
        (gone["hotel"], "cancelled"),
        (other["hotel"], "reserved"),
    ]
    booked = [b for b in await town.bookings() if b["reference"] == task]
    assert [(b["hotel_id"], b["status"]) for b in booked] == [(other["hotel_id"], "booked")]
    assert await undone(town, task) == ["book", "reserve_transfer"]
    assert result.not_undone == ()


async def undone(town: Town, task: str) -> list[str]:
    """The routes of the steps that were undone, in the order in which it was asked for."""
    history = [r for r in await town.client.history(task) if r.topic == "tool-calls"]
    calls: list[CallTool] = [codec.decode("tool-calls", record.value) for record in history]
    routes = {call.step: call.route for call in calls}
    return [routes[c.undoes] for c in calls if c.undoes is not None and c.attempt == 1]


async def some(listed: Awaitable[list[dict[str, Any]]]) -> bool | None:
    return True if await listed else None


async def replaced(town: Town, worker: asyncio.subprocess.Process) -> asyncio.subprocess.Process:
    worker.send_signal(signal.SIGKILL)
    await worker.wait()
    return await town.worker()


async def calls_of(town: Town, task: str, route: str) -> bool | None:
    """True once the route was called."""
    try:
        history = await town.client.history(task)
    except UnknownName:  # no worker has taken it up yet
        return None
    called = [
        r for r in history if r.topic == "tool-calls" and f'"route":"{route}"'.encode() in (r.value or b"")
    ]
    return True if called else None


async def test_the_same_id_twice_starts_one_task(town: Town) -> None:
    await town.worker()
    await town.client.start("book_trip", REQUEST, id="trip-1")
    await town.client.start("book_trip", REQUEST, id="trip-1")
    await town.question("trip-1")
    called = [r for r in await town.client.history("trip-1") if r.topic == "model-calls"]
    assert len(called) == 2  # interpret and rank, of one task
