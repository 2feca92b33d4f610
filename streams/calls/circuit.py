"""The steps of a call that keep a candidate's circuit: calls are skipped while it is open, others counted."""

import time

from segue.processors.app.app import App
from segue.processors.routing.selection import following
from segue.processors.stages.outcome import Failed, Outcome
from segue.streams.calls.circuit_breakers import CircuitBreakers
from segue.streams.calls.context import CallContext, Proceed
from segue.topics.records import Problem

SKIPPED = "CircuitOpen"
"""The type of the problem of an attempt that was not made."""


class CircuitSteps:
    """Those of the stages `model` and `tool`."""

    def __init__(self, app: App, board: CircuitBreakers) -> None:
        self._app = app
        self._board = board

    async def skip(self, context: CallContext, proceed: Proceed) -> Outcome:
        """Fail the call if its circuit is open, so that `recover` takes the next candidate.

        A call that has no candidate left is made whatever its circuit.
        """
        route = self._app.routes.get(context.call.route)
        if route is None or following(context.call, len(route.candidates)) is None:
            return await proceed(context)
        if (why := self._board.refusal(context.candidate)) is None:
            return await proceed(context)
        self._board.skipped(context.candidate)
        return Failed(Problem(type=SKIPPED, message=why, retryable=False))

    async def count(self, context: CallContext, proceed: Proceed) -> Outcome:
        """Count what came of the call, which may be the probe of a circuit that is half open."""
        candidate = context.candidate
        probe, started_s = self._board.begin(candidate), time.perf_counter()
        try:
            outcome = await proceed(context)
        except BaseException:
            self._board.given_up(candidate, probe=probe)
            raise
        duration_ms = (time.perf_counter() - started_s) * 1000
        self._board.ended(candidate, duration_ms, failed=_is_the_candidates(outcome), probe=probe)
        return outcome


def _is_the_candidates(outcome: Outcome) -> bool:
    """Whether it failed in a way that may pass: what is wrong with the call itself fails anywhere."""
    return isinstance(outcome, Failed) and outcome.problem.retryable and outcome.critique is None
