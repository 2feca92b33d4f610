"""The outside service: real HTTP, and it remembers each call."""

import asyncio
import socket
from collections import Counter
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import NamedTuple

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from tests.executors.servers.serving import served

HOLD_S = {"three": 0.3, "single": 0.15}
"""How long a call takes: long enough to meet others."""


class Visit(NamedTuple):
    place: str
    worker: str
    call: str
    attempt: int
    at_s: float
    """When the caller began, by the clock that all processes of a machine share: its way here may be long."""


@dataclass
class Outside:
    port: int
    failing: bool = False
    visits: list[Visit] = field(default_factory=list[Visit])
    inside: Counter[str] = field(default_factory=Counter[str])
    most: Counter[str] = field(default_factory=Counter[str])
    """At once, of each place."""

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def of(self, place: str, since_s: float = 0.0) -> list[Visit]:
        return [visit for visit in self.visits if visit.place == place and visit.at_s >= since_s]

    async def answer(self, request: Request) -> Response:
        place = request.path_params["place"]
        told = request.headers
        attempt, at_s = int(told["attempt"]), float(told["begun"])
        self.visits.append(Visit(place, told["worker"], told["call"], attempt, at_s))
        self.inside[place] += 1
        self.most[place] = max(self.most[place], self.inside[place])
        await asyncio.sleep(HOLD_S.get(place, 0.0))
        self.inside[place] -= 1
        return PlainTextResponse(place, 503 if self.failing and place == "primary" else 200)


@asynccontextmanager
async def outside() -> AsyncGenerator[Outside]:
    listening = socket.create_server(("127.0.0.1", 0))
    there = Outside(listening.getsockname()[1])
    app = Starlette(routes=[Route("/{place}", there.answer)])
    async with served(app, listening):
        yield there
