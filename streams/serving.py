"""Serves HTTP within a command: on a socket that is bound before anything is said of it, until cancelled."""

import asyncio
import os
import socket
from collections.abc import Callable, Generator
from contextlib import contextmanager

import uvicorn
from starlette.types import ASGIApp

from topics.errors import Unavailable

LOOPBACK = ("127.0.0.1", "localhost", "::1")


def listen_at(host: str, port: int) -> socket.socket:
    """Raises `Unavailable` if the port is taken."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family)
    except OSError as error:
        raise Unavailable(f"can't listen at {host}:{port}: {os.strerror(error.errno or 0)}") from None


async def serve(
    app: ASGIApp, listening: socket.socket, drain_s: int, closing: Callable[[], None] = lambda: None
) -> None:
    """Until it is cancelled; then, after `closing`, what is being answered has `drain_s` to end."""
    config = uvicorn.Config(app, log_config=None, log_level="warning", timeout_graceful_shutdown=drain_s)
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
