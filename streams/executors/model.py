"""Calls models: one request for each call.

What speaks to providers, `executors.provider`, is loaded with the first call: a worker that calls
no model needs none of their libraries. Loading takes seconds: a thread does it, and heartbeats go on.
"""

import asyncio
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING

from segue.processors.app.app import App
from segue.processors.routing.routes import ModelCandidate, ModelRoute
from segue.processors.stages.reply import Reply
from segue.streams.calls.pricing import Prices
from segue.streams.calls.token_stream import TokenPublisher
from segue.topics.errors import UnknownName
from segue.topics.extras import extra_of_model, require
from segue.topics.records import CallModel

if TYPE_CHECKING:
    from segue.streams.executors.provider import ModelClient


class ModelExecutor:
    """One client, and so one connection pool, for each candidate."""

    def __init__(self, app: App) -> None:
        self._app = app
        self._prices = Prices(app.prices)
        self._clients: dict[str | int, ModelClient] = {}
        self._opening = asyncio.Lock()
        self._open = AsyncExitStack()

    async def start(self) -> None: ...

    async def stop(self) -> None:
        await self._open.aclose()
        self._clients.clear()

    def candidate(self, call: CallModel) -> str:
        """Its name for records; never raises. What an agent asks for first is its own model."""
        if call.agent is not None and call.candidate_index == 0:
            return call.agent.name
        try:
            return self._app.model_route(call.route).names[call.candidate_index]
        except (UnknownName, IndexError):
            return f"{call.route}[{call.candidate_index}]"

    async def __call__(self, call: CallModel, telling: TokenPublisher | None = None) -> Reply:
        """Make one request, whose answer is streamed to `telling` if that is given.

        Raises `OutputRefused` for what is no answer; `Retryable` or `Permanent` when there is none.
        """
        if call.agent is not None:
            return await self._of_agent(call, telling)
        route = self._app.model_route(call.route)
        client = await self._client(_candidate(route, call), self.candidate(call))
        return await client.ask(route, call, telling)

    async def _of_agent(self, call: CallModel, telling: TokenPublisher | None) -> Reply:
        require("agents")
        from segue.streams.executors.agent import request

        return await request(self._app, call, self.candidate(call), self._prices, telling)

    async def _client(self, candidate: ModelCandidate, name: str) -> "ModelClient":
        key = candidate if isinstance(candidate, str) else id(candidate)
        async with self._opening:
            if key not in self._clients:
                client = await asyncio.to_thread(_model_client, candidate, name, self._prices)
                self._clients[key] = await self._open.enter_async_context(client)
            return self._clients[key]


def _candidate(route: ModelRoute, call: CallModel) -> ModelCandidate:
    if call.candidate_index >= len(route.candidates):
        raise UnknownName(f"model route {call.route!r} has no candidate {call.candidate_index} any more")
    return route.candidates[call.candidate_index]


def _model_client(candidate: ModelCandidate, name: str, prices: Prices) -> "ModelClient":
    require(extra_of_model(candidate) if isinstance(candidate, str) else "agents")
    from segue.streams.executors.provider import ModelClient

    return ModelClient(candidate, name, prices)
