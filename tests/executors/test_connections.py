"""A client has as many requests in flight as it is asked for, and reuses its connections."""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from typing import Any

import httpx
import httpx2
import pytest
import pytest_asyncio
from pydantic_ai.models.fallback import FallbackModel
from pydantic_ai.models.openai import OpenAIChatModel
from pydantic_ai.models.wrapper import WrapperModel
from pydantic_ai.providers.openai import OpenAIProvider

from segue.streams.executors.connections import REQUESTS_MAX, Pools, spread, spread_models

CLIENTS: list[Callable[[], Any]] = [httpx.AsyncClient, httpx2.AsyncClient]


class Held:
    """A server that answers when it is told to."""

    def __init__(self) -> None:
        self.answers = asyncio.Event()
        self.open = self.connections = 0
        self.url = ""

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        while await _head(reader):
            self.open += 1
            await self.answers.wait()
            self.open -= 1
            writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok")
        writer.close()


def _transport(client: Any) -> dict[str, Any]:
    """Return the attributes of the transport that a client of httpx sends its requests by."""
    attributes: dict[str, Any] = client.__dict__["_transport"].__dict__
    return attributes


async def _head(reader: asyncio.StreamReader) -> bytes:
    try:
        return await reader.readuntil(b"\r\n\r\n")
    except asyncio.IncompleteReadError:
        return b""


@pytest_asyncio.fixture
async def server() -> AsyncGenerator[Held]:
    held = Held()
    serving = await asyncio.start_server(held.serve, "127.0.0.1", 0, backlog=1024)
    host, port, *_ = serving.sockets[0].getsockname()
    held.url = f"http://{host}:{port}"
    yield held
    serving.close()


async def until(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(20):
        while not holds():  # noqa: ASYNC110 - of a server in this loop
            await asyncio.sleep(0.01)


@pytest.mark.asyncio
@pytest.mark.parametrize("make", CLIENTS)
async def test_a_client_has_more_requests_in_flight_than_a_pool_takes(
    server: Held, make: Callable[[], Any]
) -> None:
    count = 4 * REQUESTS_MAX + 1
    async with make() as client:
        spread(client)
        asked: Awaitable[list[Any]] = asyncio.gather(*(client.get(server.url) for _ in range(count)))
        await until(lambda: server.open == count)
        server.answers.set()
        assert [answer.text for answer in await asked] == ["ok"] * count


@pytest.mark.asyncio
@pytest.mark.parametrize("make", CLIENTS)
async def test_requests_one_after_the_other_take_one_connection(
    server: Held, make: Callable[[], Any]
) -> None:
    server.answers.set()
    async with make() as client:
        spread(client)
        spread(client)
        for _ in range(5):
            assert (await client.get(server.url)).text == "ok"
    assert server.connections == 1


@pytest.mark.asyncio
async def test_closing_a_client_closes_the_connections_of_all_its_pools(server: Held) -> None:
    server.answers.set()
    client = httpx2.AsyncClient()
    spread(client)
    await asyncio.gather(*(client.get(server.url) for _ in range(3 * REQUESTS_MAX)))
    pools = _transport(client)["_pool"]
    assert isinstance(pools, Pools)
    assert sum(len(pool.connections) for pool in vars(pools)["_pools"]) > REQUESTS_MAX
    await client.aclose()
    assert sum(len(pool.connections) for pool in vars(pools)["_pools"]) == 0


def test_models_have_their_providers_clients_spread_wherever_they_stand() -> None:
    models = [OpenAIChatModel("m", provider=OpenAIProvider(api_key="none")) for _ in range(3)]
    spread_models(WrapperModel(models[0]), FallbackModel(models[1], models[2]), None)
    for model in models:
        assert isinstance(_transport(vars(model.client)["_client"])["_pool"], Pools)


def test_a_client_that_the_user_has_made_stays_the_users() -> None:
    client = httpx2.AsyncClient(limits=httpx2.Limits(max_connections=5))
    spread_models(OpenAIChatModel("m", provider=OpenAIProvider(api_key="none", http_client=client)))
    assert _transport(client)["_pool"]._max_connections == 5


def test_a_pool_of_another_make_is_left_as_it_is(caplog: pytest.LogCaptureFixture) -> None:
    client = httpx2.AsyncClient()
    other = _transport(client)["_pool"] = object()
    spread(client)
    assert _transport(client)["_pool"] is other
    assert "its own limits stay" in caplog.text
