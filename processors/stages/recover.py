"""Stage `recover`: what happens after an attempt failed. No state: the failure carries its call.

    failures ─▶ recover ─┬▶ …-calls       an output was refused: ask again with the critique
                         ├▶ delays        retry the candidate later
                         ├▶ …-calls       reroute to the next candidate
                         └▶ events        give up: the workflow gets the exception

The transitions are `decide`; the rest is the records that say so. Only `conduct` knows whether the step was
answered meanwhile, so it writes the dead letter of a step that failed for good.
"""

from hashlib import blake2b
from typing import Any, Literal

from segue.processors.app.app import App
from segue.processors.durations import rounded_up_ms
from segue.processors.routing.budget import exceeded, together, used_up
from segue.processors.routing.routes import Policy
from segue.processors.stages.put_aside import put_aside
from segue.topics import codec
from segue.topics.errors import BadRecord, UnknownName
from segue.topics.flow import Decision, Publish, Received, Stage
from segue.topics.parts import Refusal, Spent
from segue.topics.records import AttemptFailed, CallModel, CallTool, Delay, Problem, StepFailed

CRITIQUES_KEPT_MAX = 8
"""A call carries the critiques of its candidate; more than this would crowd out the prompt."""

REFUSALS_KEPT_MAX = 32
"""Without the outputs, and those of all candidates: what the workflow is told in the end."""

DOUBLED_AT_MOST = 1_000
"""A float holds no more doublings."""

Action = Literal["ask again", "retry", "reroute", "give up"]


def decide(failure: AttemptFailed, policy: Policy, candidates: int) -> Action:
    """The policy, in one place. What is over its budget is not tried again in any way."""
    call = failure.call
    if _over_budget(failure) is not None:
        return "give up"
    if failure.critique and isinstance(call, CallModel) and len(call.critiques) < policy.critiques:
        return "ask again"
    if not failure.critique and failure.problem.retryable and call.tries < policy.retries:
        return "retry"
    if following(call, candidates) is not None:
        return "reroute"
    return "give up"


def following(call: CallModel | CallTool, candidates: int) -> int | None:
    """The next candidate, in the order that was chosen or else in the route's; None after the last."""
    if call.choice is None:
        return call.candidate + 1 if call.candidate + 1 < candidates else None
    order = call.choice.order
    place = order.index(call.candidate) + 1 if call.candidate in order else len(order)
    return order[place] if place < len(order) else None


class Recover(Stage):
    def __init__(self, app: App) -> None:
        self._app = app

    def handle(self, record: Received, now_ms: int) -> Decision:
        try:
            failure: AttemptFailed = codec.decode(record.topic, record.value)
        except BadRecord as bad:
            return put_aside(record, "recover", str(bad), now_ms)
        policy, candidates = self._policy(failure.call)
        match decide(failure, policy, candidates):
            case "ask again":
                return Decision([_again(failure, now_ms)])
            case "retry":
                return Decision([_later(failure, policy, now_ms)])
            case "reroute":
                return Decision([_next_candidate(failure, candidates, now_ms)])
            case "give up":
                return Decision([_gave_up(failure, _problem(failure, policy, candidates), now_ms)])

    def _policy(self, call: CallModel | CallTool) -> tuple[Policy, int]:
        """A route that this worker does not know (it is older, say) gives up: it knows no other candidate."""
        try:
            kind = self._app.model_route if isinstance(call, CallModel) else self._app.tool_route
            route = kind(call.route)
        except UnknownName:
            return Policy(retries=0, critiques=0), 0
        return route.policy, len(route.candidates)


def _again(failure: AttemptFailed, now_ms: int) -> Publish:
    assert failure.critique is not None
    critiques = (*failure.call.critiques, failure.critique)[-CRITIQUES_KEPT_MAX:]
    return _call(failure.call.model_copy(update=_onward(failure, now_ms) | {"critiques": critiques}))


def _onward(failure: AttemptFailed, at_ms: int) -> dict[str, Any]:
    """What every next attempt knows of those before it."""
    call = failure.call
    known = {"attempt": call.attempt + 1, "spent": _spent(failure), "refusals": _refusals(failure)}
    return known | {"at_ms": at_ms}


def _spent(failure: AttemptFailed) -> Spent | None:
    return together(failure.call.spent, failure.usage)


def _refusals(failure: AttemptFailed) -> tuple[Refusal, ...]:
    if failure.critique is None:
        return failure.call.refusals
    refusal = Refusal(by=failure.by, reason=failure.critique.reason)
    return (*failure.call.refusals, refusal)[-REFUSALS_KEPT_MAX:]


def _over_budget(failure: AttemptFailed) -> str | None:
    return used_up(_spent(failure), failure.call.budget)


def _later(failure: AttemptFailed, policy: Policy, now_ms: int) -> Publish:
    call = failure.call
    asked_for_ms = rounded_up_ms(failure.problem.retry_after_s or 0.0)
    due_ms = now_ms + max(round(backoff_s(call, policy) * 1000), asked_for_ms)
    retry = call.model_copy(update=_onward(failure, due_ms) | {"tries": call.tries + 1})
    delay = Delay(
        task=call.task,
        id=retry.idempotency_key.removeprefix(f"{call.task}/") + f"/{retry.attempt}",
        due_ms=due_ms,
        topic=_call(retry).topic,
        record=retry,
    )
    return Publish("delays", call.task, delay)


def _next_candidate(failure: AttemptFailed, candidates: int, now_ms: int) -> Publish:
    changes = {"candidate": following(failure.call, candidates), "tries": 0, "critiques": ()}
    return _call(failure.call.model_copy(update=_onward(failure, now_ms) | changes))


def _gave_up(failure: AttemptFailed, problem: Problem, now_ms: int) -> Publish:
    """A judge without a verdict fails the step that it was to judge: no other candidate would fare better."""
    call = _judged(failure.call)
    event = StepFailed(
        task=call.task,
        step=call.step,
        print=call.print,
        problem=problem,
        attempt=call.attempt,
        route=call.route,
        by=failure.by,
        refusals=_refusals(failure),
        spent=_spent(failure),
        at_ms=now_ms,
    )
    return Publish("events", call.task, event)


def _problem(failure: AttemptFailed, policy: Policy, candidates: int) -> Problem:
    """Why the policy gives up: the last failure, or the budget where it would have gone on."""
    call, over = failure.call, _over_budget(failure)
    within = call.model_copy(update={"budget": None})
    if (
        over is not None
        and decide(failure.model_copy(update={"call": within}), policy, candidates) != "give up"
    ):
        return exceeded(
            f"{over} after {call.attempt} attempts, the last of which failed: {failure.problem.message}"
        )
    if isinstance(call, CallModel) and call.judging is not None:
        message = f"judge {call.route!r} gives no verdict: {failure.problem.message}"
        return Problem(type="NoVerdict", message=message, retryable=False)
    return failure.problem


def _judged(call: CallModel | CallTool) -> CallModel | CallTool:
    return call.judging.call if isinstance(call, CallModel) and call.judging is not None else call


def _call(call: CallModel | CallTool) -> Publish:
    return Publish("model-calls" if isinstance(call, CallModel) else "tool-calls", call.task, call)


def backoff_s(call: CallModel | CallTool, policy: Policy) -> float:
    """Exponential backoff with full jitter, the jitter drawn from the attempt's own name: replays agree.

    Source: "Exponential Backoff And Jitter", AWS Architecture Blog, 2015.
    """
    ceiling: float = min(policy.backoff_s_max, policy.backoff_s * 2.0 ** min(call.tries, DOUBLED_AT_MOST))
    name = f"{call.idempotency_key}/{call.attempt}".encode()
    drawn = int.from_bytes(blake2b(name, digest_size=8).digest()) / 2**64
    return ceiling * drawn
