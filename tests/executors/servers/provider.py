"""A model provider on this machine, which speaks the wire protocols of several (see `wires`).

A test says what is answered next; every request is kept. The server is real: sockets, HTTP, JSON.
"""

import asyncio
import json
import socket
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route

from tests.executors.servers.serving import served
from tests.executors.servers.streaming import Streamed, events
from tests.executors.servers.wires import Said, wire_of

SSE = "text/event-stream"


@dataclass
class Failed:
    status: int
    body: Any = field(default_factory=lambda: {"error": {"message": "it went wrong", "type": "test"}})
    headers: dict[str, str] = field(default_factory=dict[str, str])


@dataclass
class Silent:
    """Never answers."""


@dataclass
class Raw:
    """Answers 200 with these bytes."""

    body: str


@dataclass
class BrokenOff:
    """Begins to answer, and the connection ends in the middle of it."""


@dataclass
class Sent:
    """A request as it came."""

    path: str
    headers: dict[str, str]
    body: dict[str, Any]


@dataclass
class Provider:
    port: int
    next: Said | Failed | Silent | Raw | BrokenOff | Streamed = field(default_factory=Said)
    sent: list[Sent] = field(default_factory=list[Sent])

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def answer(self, request: Request) -> Response:
        body = await request.json()
        self.sent.append(Sent(request.url.path, dict(request.headers), body))
        match self.next:
            case Silent():
                await asyncio.sleep(3600)
                raise AssertionError
            case Failed(status, error, headers):
                return _json(error, status, headers)
            case BrokenOff():
                return Response('{"id": ', headers={"content-length": "500"}, media_type="application/json")
            case Streamed() as streamed:
                return StreamingResponse(events(streamed, request.url.path, body), 200, media_type=SSE)
            case Raw(text):
                return Response(text, media_type="application/json")
            case Said() as said:
                return _json(wire_of(request.url.path)(said, body))


def _json(body: Any, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    return Response(json.dumps(body), status, headers, media_type="application/json")


@asynccontextmanager
async def provider() -> AsyncGenerator[Provider]:
    listening = socket.create_server(("127.0.0.1", 0))
    there = Provider(listening.getsockname()[1])
    app = Starlette(routes=[Route("/{path:path}", there.answer, methods=["POST"])])
    async with served(app, listening):
        yield there
