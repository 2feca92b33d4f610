"""Serves HTTP within a command: on a socket that is bound before anything is said of it, until cancelled.

Whoever reaches the port can hold only a bounded part of the process:

    connections   at most `connections_max`; when all are taken, the one that has waited longest without
                  having sent a request is closed for the next one, and if all are in use the next gets 503
    head          a request's first line and headers come within `HEAD_S`, or the connection is closed
    body          comes within `BODY_S` and is at most `BODY_BYTES_MAX`, or it is refused (408, 413)
    answer        whoever does not take it for `STALLED_S` is disconnected

uvicorn bounds only the time between two requests of a connection (5 s).
"""

import asyncio
import os
import socket
from collections.abc import Callable, Generator
from contextlib import contextmanager
from functools import partial
from typing import Any, cast

import uvicorn
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from uvicorn.protocols.http.h11_impl import H11Protocol

from segue.topics.errors import Unavailable

LOOPBACK = ("127.0.0.1", "localhost", "::1")

CONNECTIONS_MAX = 256
"""A quarter of the open files that systems usually permit."""

HEAD_S = 10.0
BODY_S = 60.0
STALLED_S = 30.0

BODY_BYTES_MAX = 4_000_000
"""Above every form and every request of a protocol that is served here."""

FULL = (
    b"HTTP/1.1 503 Service Unavailable\r\ncontent-type: text/plain\r\nretry-after: 5\r\n"
    b"connection: close\r\n\r\nas many connections are open as may be: close some, or try again\n"
)


def listen_at(host: str, port: int) -> socket.socket:
    """Raises `Unavailable` if the port is taken."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family)
    except OSError as error:
        raise Unavailable(f"can't listen at {host}:{port}: {os.strerror(error.errno or 0)}") from None


async def serve(
    app: ASGIApp,
    listening: socket.socket,
    drain_s: int,
    closing: Callable[[], None] = lambda: None,
    connections_max: int = CONNECTIONS_MAX,
) -> None:
    """Until it is cancelled; then, after `closing`, what is being answered has `drain_s` to end."""
    config = uvicorn.Config(
        _BoundedBody(app),
        http=cast("Any", partial(_Connection, connections_max, {})),  # any factory will do
        ws="none",
        log_config=None,
        log_level="warning",
        timeout_graceful_shutdown=drain_s,
    )
    serving = _Serving(config)
    ended = asyncio.create_task(serving.serve([listening]))
    try:
        await asyncio.shield(ended)
    except asyncio.CancelledError:
        closing()
        serving.should_exit = True
        await ended
        raise


class _Serving(uvicorn.Server):
    """Signals cancel whoever serves, as in every command, and are not uvicorn's."""

    @contextmanager
    def capture_signals(self) -> Generator[None]:
        yield


class _Connection(H11Protocol):
    """One connection. `waiting` are those of the server that have no request, the oldest first."""

    def __init__(
        self, connections_max: int, waiting: dict["_Connection", None], *args: Any, **kwargs: Any
    ) -> None:
        super().__init__(*args, **kwargs)
        self._connections_max = connections_max
        self._waiting = waiting
        self._due: asyncio.TimerHandle | None = None
        self._stalled: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        if len(self.connections) > self._connections_max and not self._close_oldest_waiting():
            transport.write(FULL)
            transport.close()
            return
        self._wait()

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        cycle: Any = self.cycle  # None before the first request
        if cycle is None or cycle.response_complete:
            self._wait()
        else:
            self._wait_no_more()

    def on_response_complete(self) -> None:
        super().on_response_complete()
        self._waiting[self] = None

    def connection_lost(self, exc: Exception | None) -> None:
        self._wait_no_more()
        self._cancel_stalled()
        super().connection_lost(exc)

    def pause_writing(self) -> None:
        super().pause_writing()
        self._abort_later()

    def resume_writing(self) -> None:
        super().resume_writing()
        self._cancel_stalled()

    def timeout_keep_alive_handler(self) -> None:
        super().timeout_keep_alive_handler()
        self._abort_later()  # what was written may not have been taken: then it does not close by itself

    def _wait(self) -> None:
        """For the head of a request; bytes of it do not put the end off."""
        self._waiting.setdefault(self, None)
        if self._due is None:
            self._due = self.loop.call_later(HEAD_S, self.transport.abort)

    def _wait_no_more(self) -> None:
        self._waiting.pop(self, None)
        if self._due is not None:
            self._due.cancel()
            self._due = None

    def _close_oldest_waiting(self) -> bool:
        oldest = next(iter(self._waiting), None)
        if oldest is not None:
            oldest._wait_no_more()
            oldest.transport.abort()
        return oldest is not None

    def _abort_later(self) -> None:
        if self._stalled is None:
            self._stalled = self.loop.call_later(STALLED_S, self.transport.abort)

    def _cancel_stalled(self) -> None:
        if self._stalled is not None:
            self._stalled.cancel()
            self._stalled = None


class _BoundedBody:
    """Refuses a body that is too large, or does not come."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        due_s, left, complete = asyncio.get_running_loop().time() + BODY_S, BODY_BYTES_MAX, False

        async def receive_bounded() -> Message:
            nonlocal left, complete
            if complete:
                return await receive()  # the client's leave, which may come late
            try:
                async with asyncio.timeout_at(due_s):
                    message = await receive()
            except TimeoutError:
                raise HTTPException(408, f"the request's body did not arrive within {BODY_S:g} s") from None
            left -= len(message.get("body", b""))
            complete = not message.get("more_body", False)
            if left < 0:
                raise HTTPException(
                    413, f"the request is too large: at most {BODY_BYTES_MAX:,} bytes are accepted"
                )
            return message

        await self._app(scope, receive_bounded, send)
