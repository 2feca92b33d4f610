"""The example's services, in this process, on ports that are free."""

import asyncio
from collections.abc import AsyncGenerator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import pytest
import uvicorn
from starlette.applications import Starlette

from examples.travel import availability_service, booking_service, transfer_service


@pytest.fixture(autouse=True, scope="session")
def _state(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SEGUE_STATE_DIR", str(tmp_path_factory.mktemp("travel")))
        yield


@asynccontextmanager
async def served(application: Starlette) -> AsyncGenerator[httpx.AsyncClient]:
    server = uvicorn.Server(uvicorn.Config(application, port=0, log_level="warning"))
    serving = asyncio.create_task(server.serve())
    while not server.started:  # noqa: ASYNC110 - uvicorn has no event for it
        await asyncio.sleep(0.01)
    port = server.servers[0].sockets[0].getsockname()[1]
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}") as client:
        yield client
    server.should_exit = True
    await serving


@pytest.fixture
async def availability() -> AsyncGenerator[httpx.AsyncClient]:
    async with served(availability_service.application()) as client:
        yield client


@pytest.fixture
async def bookings(tmp_path: Path) -> AsyncGenerator[httpx.AsyncClient]:
    async with served(booking_service.application(tmp_path / "bookings.db", rooms=1)) as client:
        yield client


@pytest.fixture
async def transfers(tmp_path: Path) -> AsyncGenerator[httpx.AsyncClient]:
    async with served(transfer_service.application(tmp_path / "transfers.db")) as client:
        yield client
