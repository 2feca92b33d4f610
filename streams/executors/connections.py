"""HTTP connections for thousands of calls in flight.

httpx keeps at most 100 connections of a client, providers' clients 1,000; what is more waits, and its time-
out runs. And a pool looks at each of its connections for each request: with 2,000 in flight that takes 10 ms
of CPU a request. So the requests of a client are spread over pools of `REQUESTS_MAX` each, as many as are
needed.

A pool is found where httpx and httpx2 keep it, which is private to them; a client that keeps it elsewhere is
left as it is. Clients that a user has made himself are the user's: see `spread_models`.
"""

import copy
import logging
from collections.abc import Iterator
from typing import Any

log = logging.getLogger(__name__)

REQUESTS_MAX = 100
"""Of one pool. With fewer a client has more pools, and reuses fewer connections."""

_FRESH = ("_connections", "_requests")
"""What a pool has of its own, each a list; all else is configuration."""

_LOCK = "_optional_thread_lock"


class Pools:
    """In place of one pool of httpcore. A request takes the first pool that has room for it."""

    def __init__(self, pool: Any) -> None:
        pool._max_connections = pool._max_keepalive_connections = REQUESTS_MAX
        self._pools = [pool]

    async def handle_async_request(self, request: Any) -> Any:
        return await self._with_room().handle_async_request(request)

    def _with_room(self) -> Any:
        for pool in self._pools:
            if len(pool._requests) < REQUESTS_MAX:
                return pool
        self._pools.append(_another(self._pools[0]))
        return self._pools[-1]

    async def aclose(self) -> None:
        """One after the other: each shields itself from a cancellation, which tasks of their own would not
        be."""
        for pool in self._pools:
            await pool.aclose()

    async def __aenter__(self) -> "Pools":
        return self

    async def __aexit__(self, *reason: object) -> None:
        await self.aclose()


def spread(client: Any) -> None:
    """Let an `AsyncClient` of httpx or httpx2 have as many requests in flight as it is asked for."""
    for transport in (client._transport, *client._mounts.values()):
        pool = getattr(transport, "_pool", None)
        if pool is None or isinstance(pool, Pools):
            continue
        if not all(isinstance(getattr(pool, name, None), list) for name in _FRESH) or not hasattr(
            pool, _LOCK
        ):
            log.warning("%s is not a pool as httpx has it: its own limits stay", type(pool).__name__)
            continue
        transport._pool = Pools(pool)


def spread_models(*models: object) -> None:
    """Do so for the clients that the models' providers have made themselves."""
    for model in models:
        for one in _all_of(model):
            client = getattr(one.provider, "_own_http_client", None)
            if client is not None:
                spread(client)


def _all_of(model: Any) -> Iterator[Any]:
    """The model of Pydantic AI, and those that it wraps or falls back on."""
    if hasattr(model, "provider"):
        yield model
        for inner in (getattr(model, "wrapped", None), *getattr(model, "models", ())):
            yield from _all_of(inner)


def _another(pool: Any) -> Any:
    another = copy.copy(pool)
    for name in _FRESH:
        setattr(another, name, [])
    setattr(another, _LOCK, type(getattr(pool, _LOCK))())
    return another
