"""The little HTTP server that Prometheus and orchestrators ask.

    /metrics   the registry, as text or OpenMetrics, by the Accept header
    /healthz   200 while the worker's event loop turns: if not, restart the worker
    /readyz    200 once its stages hold their partitions, restored

It answers on one thread with an event loop of its own, so that a large scrape does not hold up the stages.
`healthz` and `readyz` ask the worker's event loop, and a loop that does not answer is what a restart is for.
Connections, and what each may take, are bounded by `segue.streams.process.http_server`.
"""

import asyncio
import logging
import socket
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import cast

from prometheus_client import CollectorRegistry, make_asgi_app  # pyright: ignore[reportUnknownVariableType]
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from segue.streams.process.http_server import listen_at, serve
from segue.topics.errors import Unavailable

log = logging.getLogger(__name__)

PORTS_TRIED_MAX = 100
"""Above the wanted port, one by one, so that the workers of one machine stand side by side for Prometheus."""

LOOP_ANSWERS_S = 5.0
"""A stage computes for milliseconds at a time; a loop that is silent for longer is stuck."""

CONNECTIONS_MAX = 64
"""Prometheus keeps one open, an orchestrator opens one for each probe."""

DRAIN_S = 1


class Exposition:
    """Serves one registry. `ready` is called on the event loop that `start` ran on."""

    def __init__(self, registry: CollectorRegistry, ready: Callable[[], bool]) -> None:
        self._metrics = cast("ASGIApp", make_asgi_app(registry))
        self._ready = ready
        self._thread: threading.Thread | None = None

    async def start(self, host: str, wanted: int) -> int:
        """Listen at `host` and the port `wanted`, or the next free one above it; returns which."""
        self._loop = asyncio.get_running_loop()
        self._ending = asyncio.Event()
        listening = _listening(host, wanted)
        port: int = listening.getsockname()[1]
        if wanted and port != wanted:
            log.warning("port %d is in use: metrics are on http://localhost:%d/metrics", wanted, port)
        begun = threading.Event()
        self._thread = threading.Thread(
            target=asyncio.run, args=(self._serve(listening, begun),), name="segue-exposition", daemon=True
        )
        self._thread.start()
        await asyncio.to_thread(begun.wait)
        return port

    async def stop(self) -> None:
        if self._thread is not None:
            self._own_loop.call_soon_threadsafe(self._ending.set)
            await asyncio.to_thread(self._thread.join)
            self._thread = None

    async def _serve(self, listening: socket.socket, begun: threading.Event) -> None:
        self._own_loop = asyncio.get_running_loop()
        begun.set()
        serving = asyncio.create_task(
            serve(self._answer, listening, DRAIN_S, connections_max=CONNECTIONS_MAX)
        )
        await self._ending.wait()
        serving.cancel()
        with suppress(asyncio.CancelledError):
            await serving

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        assert scope["type"] == "http"  # the server takes that for an answer to its lifespan events
        match scope["path"]:
            case "/metrics":
                app = self._metrics
            case "/healthz":
                app = await self._probe_response(lambda: True, "the event loop is stuck")
            case "/readyz":
                app = await self._probe_response(self._ready, "not all partitions are restored yet")
            case _:
                app = PlainTextResponse("there are /metrics, /healthz and /readyz\n", 404)
        await app(scope, receive, send)

    async def _probe_response(self, question: Callable[[], bool], otherwise: str) -> ASGIApp:
        async def ask() -> bool:
            return question()

        answer = asyncio.wrap_future(asyncio.run_coroutine_threadsafe(ask(), self._loop))
        try:
            async with asyncio.timeout(LOOP_ANSWERS_S):
                good = await answer
        except TimeoutError:
            good, otherwise = False, f"the event loop did not answer within {LOOP_ANSWERS_S:g} s"
        return PlainTextResponse("ok\n" if good else f"{otherwise}\n", 200 if good else 503)


def _listening(host: str, wanted: int) -> socket.socket:
    for port in range(wanted, min(wanted + PORTS_TRIED_MAX, 65_535)):
        with suppress(Unavailable):
            return listen_at(host, port)
    return listen_at(host, 0)
