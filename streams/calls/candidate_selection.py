"""Chooses the candidates of calls whose route says how, before they are called: see `selection`.

    model-calls ─▶ model ─▶ model-calls    the same call, with the choice and its reason
                     └▶ events, …          the next time, the call is made

So the choice is committed before the call, and is the same after any crash. A route that does not choose has
nothing of this. Where a chooser fails, nobody is called: it may have to keep data from somebody.
"""

import logging
from collections.abc import Sequence
from typing import Any, cast

from segue.processors.app.app import App
from segue.processors.payloads.blob import is_value
from segue.processors.routing.routes import AnyRoute, ModelRoute
from segue.processors.routing.selection import (
    CHARACTERS_PER_TOKEN,
    CallInfo,
    CandidateStats,
    call_info_of,
    name_of,
    selection_of,
)
from segue.processors.stages.outcome import NoCandidate, Outcome, Requeued
from segue.streams.calls.candidate_stats import Knowledge
from segue.streams.calls.context import AnyCall, CallContext, Proceed
from segue.streams.calls.failures import problem_of
from segue.streams.calls.pricing import Prices
from segue.streams.process.user_code import raise_if_ours
from segue.streams.text.redaction import redact
from segue.topics.parts import Choice
from segue.topics.records import Problem

log = logging.getLogger(__name__)


class CandidateSelector:
    """`knowledge` says how candidates fare."""

    def __init__(self, app: App, knowledge: Knowledge) -> None:
        self._app = app
        self._knowledge = knowledge
        self._prices = Prices(app.prices)

    def _is_due(self, call: AnyCall) -> bool:
        """A call that was retried or rerouted before its route began to choose goes on as it began."""
        route = self._app.routes.get(call.route)
        return route is not None and route.choose is not None and call.choice is None and call.attempt == 1

    async def __call__(self, context: CallContext, proceed: Proceed) -> Outcome:
        """The step of a call: whose candidate is to be chosen goes back to its topic with the choice."""
        return await (self._choose(context.call) if self._is_due(context.call) else proceed(context))

    async def _choose(self, call: AnyCall) -> Outcome:
        route = self._app.routes[call.route]
        assert route.choose is not None
        try:
            asked = call_info_of(call)
            asked = asked._replace(
                tokens=asked.tokens + _bytes_elsewhere(asked.input) // CHARACTERS_PER_TOKEN
            )
            choice = selection_of(route.choose, asked, await self._known(route, asked))
        except BaseException as error:  # noqa: BLE001 - user code may raise anything
            raise_if_ours(error)
            return _nobody(call, name_of(route.choose), problem_of(error))
        return Requeued(call.model_copy(update={"choice": choice, "candidate_index": choice.order[0]}))

    async def _known(self, route: AnyRoute, asked: CallInfo) -> Sequence[CandidateStats]:
        costs: dict[str, float | None] = {}
        if isinstance(route, ModelRoute):
            await self._prices.load()
            costs = {name: self._prices.estimate(name, asked.tokens) for name in route.names}
        return [
            CandidateStats(name, costs.get(name), *self._knowledge.of(route.name, name))
            for name in dict.fromkeys(route.names)
        ]


def _nobody(call: AnyCall, chooser: str, problem: Problem) -> Outcome:
    """The step fails: an empty order has no candidate to go on with."""
    reason = redact(f"choose={chooser} failed: {problem.type}: {problem.message}")
    log.warning("%s: route %s calls nobody: %s", call.idempotency_key, call.route, reason)
    nobody = call.model_copy(update={"choice": Choice(order=(), by=chooser, reason=reason)})
    why = problem.model_copy(update={"type": "NoChoice", "message": reason, "retryable": False})
    return NoCandidate(nobody, chooser, why)


def _bytes_elsewhere(value: Any) -> int:
    """Of values that stand in the object store, by their references."""
    if is_value(value):
        return int(value["size_bytes"])
    if isinstance(value, dict):
        return sum(map(_bytes_elsewhere, cast("dict[str, Any]", value).values()))
    return sum(map(_bytes_elsewhere, cast("Sequence[Any]", value))) if isinstance(value, list) else 0
