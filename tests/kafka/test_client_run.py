"""`Client.run`, from the request to the value, on a real broker with a real worker."""

import asyncio
from collections.abc import AsyncGenerator

import pytest
import pytest_asyncio
from pydantic import BaseModel

from segue import App, Client, Task, TaskFailed, workflow
from segue.streams.engine.worker import Worker
from segue.streams.settings import Settings


class Stay(BaseModel):
    place: str
    nights: int = 1


@workflow
async def longer(task: Task, stay: Stay) -> Stay:
    if stay.nights > 6:
        raise ValueError("no room for so long")
    return stay.model_copy(update={"nights": stay.nights + 1})


@workflow
async def waits(task: Task) -> str:
    return await task.signal("go", str)


@pytest_asyncio.fixture
async def client(settings: Settings) -> AsyncGenerator[Client]:
    worker = Worker(App("stays", workflows=[longer, waits]), settings)
    await worker.start()
    await worker.ready()
    async with asyncio.timeout(60), Client(settings) as there:
        yield there
    await worker.stop()


async def test_what_it_returns_is_of_the_workflows_type(client: Client) -> None:
    assert await client.run(longer, Stay(place="Faro")) == Stay(place="Faro", nights=2)
    assert await client.run("longer", {"place": "Faro"}) == {"place": "Faro", "nights": 2}


async def test_however_else_it_ends_is_raised(client: Client) -> None:
    with pytest.raises(TaskFailed, match="task 's-1' failed: ValueError: no room for so long") as failed:
        await client.run(longer, Stay(place="Faro", nights=7), "s-1")
    assert failed.value.result.outcome == "failed"
    with pytest.raises(TaskFailed, match="task 's-2' was rejected: the input does not fit"):
        await client.run(longer, "Faro", "s-2")


async def test_who_stops_waiting_stops_no_task(client: Client) -> None:
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(1):
            await client.run(waits, None, "w-1")
    await client.signal("w-1", "go", "went")
    assert await client.run(waits, None, "w-1") == "went"
