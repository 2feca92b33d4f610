"""Restate: a handler with six `ctx.run`, over HTTP/2 in both directions, called through the ingress."""

# pyright: basic, reportMissingImports=false

import asyncio
import os
import socket
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import restate
from hypercorn.asyncio import serve as serve_http
from hypercorn.config import Config

from benchmarks.peers.program import STEPS, Awaited, noop, serve

six: Any = restate.Service(f"Six{os.environ['PEERS_PROCESS']}")


@six.handler()
async def run(context: Any, _: int) -> None:
    for _n in range(STEPS):
        await context.run_typed("noop", noop)


@asynccontextmanager
async def started() -> AsyncGenerator[Awaited]:
    url, stop = f"http://127.0.0.1:{_free_port()}", asyncio.Event()
    app: Any = restate.app([six], "bidi")
    serving = asyncio.create_task(serve_http(app, _as_documented(url), shutdown_trigger=stop.wait))
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as client:
        await _listening(url)
        await _post(client, f"{os.environ['PEERS_RESTATE_ADMIN']}/deployments", {"uri": url})
        yield Awaited(lambda: _post(client, f"{os.environ['PEERS_RESTATE']}/{six.name}/run", 0))
    stop.set()
    await serving


async def _listening(url: str) -> None:
    while True:
        try:
            _, writer = await asyncio.open_connection("127.0.0.1", int(url.rpartition(":")[2]))
        except OSError:
            await asyncio.sleep(0.05)
        else:
            return writer.close()


def _as_documented(url: str) -> Config:
    config = Config()
    config.bind = [url.removeprefix("http://")]
    config.h2_max_concurrent_streams = 2147483647
    config.keep_alive_max_requests = 2147483647
    config.keep_alive_timeout = 2147483647
    return config


async def _post(client: aiohttp.ClientSession, url: str, body: object) -> bytes:
    """The ingress answers when the handler has ended."""
    async with client.post(url, json=body) as answer:
        answer.raise_for_status()
        return await answer.read()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


if __name__ == "__main__":
    serve(started, "restate-sdk", "hypercorn")
