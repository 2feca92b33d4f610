"""Whoever reaches a port holds a bounded part of the process: connections, time and bytes."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from segue.streams.process import http_server as serving
from segue.streams.process.http_server import listen_at, serve

GET = b"GET / HTTP/1.1\r\nHost: here\r\n\r\n"
CONNECTIONS_MAX = 3
PATIENCE_S = 30.0

Connection = tuple[asyncio.StreamReader, asyncio.StreamWriter]
Connect = Callable[[], Awaitable[Connection]]


async def length(request: Request) -> Response:
    return PlainTextResponse(str(len(await request.body())))


async def endless(_: Request) -> Response:
    async def pieces() -> AsyncIterator[bytes]:
        while True:
            yield b"x" * 65_536
            await asyncio.sleep(0)

    return StreamingResponse(pieces())


async def held(_: Request) -> Response:
    await asyncio.Event().wait()
    return Response()


APP = Starlette(
    routes=[
        Route("/", length, methods=["GET", "POST"]),
        Route("/endless", endless),
        Route("/held", held),
    ]
)


@asynccontextmanager
async def served(app: ASGIApp = APP) -> AsyncGenerator[Connect]:
    listening = listen_at("127.0.0.1", 0)
    port = listening.getsockname()[1]
    running = asyncio.create_task(serve(app, listening, 0, connections_max=CONNECTIONS_MAX))
    opened: list[asyncio.StreamWriter] = []

    async def connect() -> Connection:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        opened.append(writer)
        return reader, writer

    async with asyncio.timeout(PATIENCE_S):
        yield connect
    for writer in opened:
        writer.transport.abort()
    running.cancel()
    await asyncio.wait([running])


async def asked(connection: Connection, request: bytes = GET) -> bytes:
    """The status line and what follows, as far as it has come."""
    reader, writer = connection
    writer.write(request)
    return await reader.read(4096)


async def closed(connection: Connection) -> bytes:
    """What came until the other side closed."""
    try:
        return await connection[0].read()
    except ConnectionResetError:
        return b""


@pytest.mark.parametrize("said", [b"", b"GET / HTTP/1.1\r\nHost:", GET + b"GET / HT"])
async def test_a_request_whose_head_does_not_come_is_given_up(
    said: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(serving, "HEAD_S", 0.05)
    async with served() as connect:
        connection = await connect()
        connection[1].write(said)
        await closed(connection)


async def test_a_head_that_drips_in_is_given_up_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(serving, "HEAD_S", 0.2)
    async with served() as connect:
        connection = await connect()

        async def drip() -> None:
            for letter in b"GET / HTTP/1.1\r\nA: " + b"a" * 10_000:
                connection[1].write(bytes((letter,)))
                await asyncio.sleep(0.01)

        dripping = asyncio.create_task(drip())
        await closed(connection)
        assert not dripping.done()
        dripping.cancel()


async def test_where_all_connections_are_taken_the_one_that_asks_for_nothing_makes_room() -> None:
    async with served() as connect:
        idle = [await connect() for _ in range(CONNECTIONS_MAX)]
        for number in range(20):
            assert b"200 OK" in await asked(await connect()), number
        assert [await closed(connection) for connection in idle] == [b""] * CONNECTIONS_MAX


async def test_where_all_connections_are_in_use_the_next_is_told_so() -> None:
    async with served() as connect:
        for _ in range(CONNECTIONS_MAX):
            (await connect())[1].write(b"GET /held HTTP/1.1\r\nHost: here\r\n\r\n")
        answers = [await asked(await connect()) for _ in range(CONNECTIONS_MAX)]
        assert answers[-1].startswith(b"HTTP/1.1 503 ")
        assert b"as many connections are open as may be" in answers[-1]


async def test_a_body_that_is_too_large_or_does_not_come_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(serving, "BODY_S", 0.05)
    monkeypatch.setattr(serving, "BODY_BYTES_MAX", 1_000)
    post = b"POST / HTTP/1.1\r\nHost: here\r\nContent-Length: %d\r\n\r\n"
    async with served() as connect:
        assert (await asked(await connect(), post % 1_000 + b"x" * 1_000)).endswith(b"1000")
        large = await asked(await connect(), post % 1_001 + b"x" * 1_001)
        slow = await asked(await connect(), post % 1_000 + b"x" * 999)
    assert large.startswith(b"HTTP/1.1 413 ")
    assert slow.startswith(b"HTTP/1.1 408 ")


async def test_whoever_takes_no_answer_is_disconnected(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(serving, "STALLED_S", 0.05)
    ended = asyncio.Event()

    async def answer(scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await APP(scope, receive, send)
        finally:
            ended.set()

    async with served(answer) as connect:
        _, writer = await connect()
        writer.transport.pause_reading()  # type: ignore[attr-defined]
        writer.write(b"GET /endless HTTP/1.1\r\nHost: here\r\n\r\n")
        await ended.wait()
