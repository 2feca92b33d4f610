"""The little HTTP server that Prometheus and orchestrators ask.

    /metrics   the registry, as text or OpenMetrics, by the Accept header
    /healthz   200 while the worker's event loop turns: if not, restart the worker
    /readyz    200 once its stages hold their partitions, restored

It answers on threads of its own, so that a large scrape does not hold up the stages. `healthz` and `readyz`
ask the event loop, and a loop that does not answer is what a restart is for.
"""

import asyncio
import errno
import logging
import threading
from collections.abc import Callable, Iterable
from functools import partial
from socketserver import ThreadingMixIn
from typing import TYPE_CHECKING, Any, cast
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

from prometheus_client import CollectorRegistry, make_wsgi_app  # pyright: ignore[reportUnknownVariableType]

if TYPE_CHECKING:
    from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

log = logging.getLogger(__name__)

PORTS_TRIED_MAX = 100
"""Above the wanted port, one by one, so that the workers of one machine stand side by side for Prometheus."""

LOOP_ANSWERS_S = 5.0
"""A stage computes for milliseconds at a time; a loop that is silent for longer is stuck."""


class Exposition:
    """Serves one registry. `ready` is called on the event loop that `start` ran on."""

    def __init__(self, registry: CollectorRegistry, ready: Callable[[], bool]) -> None:
        self._metrics = cast("WSGIApplication", make_wsgi_app(registry))
        self._ready = ready
        self._server: WSGIServer | None = None

    async def start(self, wanted: int) -> int:
        """Listen on all interfaces at the port `wanted`, or the next free one above it; returns which."""
        self._loop = asyncio.get_running_loop()
        self._server = await asyncio.to_thread(self._bind, wanted)
        port = self._server.server_port
        if wanted and port != wanted:
            log.warning("port %d is taken: metrics are on http://localhost:%d/metrics", wanted, port)
        serve = partial(self._server.serve_forever, poll_interval=0.1)
        threading.Thread(target=serve, name="segue-exposition", daemon=True).start()
        return port

    async def stop(self) -> None:
        if self._server is not None:
            await asyncio.to_thread(self._server.shutdown)
            self._server.server_close()
            self._server = None

    def _bind(self, wanted: int) -> WSGIServer:
        last = min(wanted + PORTS_TRIED_MAX, 65_535)
        for port in range(wanted, last):
            try:
                return make_server("", port, self._answer, _Server, handler_class=_Quiet)
            except OSError as error:
                if error.errno != errno.EADDRINUSE:
                    raise
        return make_server("", 0, self._answer, _Server, handler_class=_Quiet)

    def _answer(self, environ: "WSGIEnvironment", start: "StartResponse") -> Iterable[bytes]:
        match environ["PATH_INFO"]:
            case "/metrics":
                return self._metrics(environ, start)
            case "/healthz":
                return _say(start, *self._asked(lambda: True, "the event loop is stuck"))
            case "/readyz":
                return _say(start, *self._asked(self._ready, "not all partitions are restored yet"))
            case _:
                return _say(start, "404 Not Found", "there are /metrics, /healthz and /readyz")

    def _asked(self, question: Callable[[], bool], otherwise: str) -> tuple[str, str]:
        async def ask() -> bool:
            return question()

        answer = asyncio.run_coroutine_threadsafe(ask(), self._loop)
        try:
            good = answer.result(LOOP_ANSWERS_S)
        except TimeoutError:
            answer.cancel()
            good, otherwise = False, f"the event loop did not answer within {LOOP_ANSWERS_S:g} s"
        return ("200 OK", "ok") if good else ("503 Service Unavailable", otherwise)


class _Server(ThreadingMixIn, WSGIServer):
    daemon_threads = True


class _Quiet(WSGIRequestHandler):
    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the overridden name
        """Say nothing: a scrape every few seconds is no news."""


def _say(start: "StartResponse", status: str, text: str) -> Iterable[bytes]:
    start(status, [("Content-Type", "text/plain; charset=utf-8")])
    return [text.encode() + b"\n"]
