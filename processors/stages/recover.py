"""Stage `recover`: decides what follows a failed attempt. It has no state: the failure contains its call.

    failures ─▶ recover ─┬▶ …-calls       an output was refused: ask again with the critique
                         ├▶ delays        retry the candidate later
                         ├▶ …-calls       reroute to the next candidate
                         └▶ events        give up: the workflow gets the exception

The transitions are `decide`; the rest is the records that say so. Only `conduct` knows whether the step was
answered meanwhile, so it writes the dead letter of a step that failed for good.
"""

from hashlib import blake2b
from typing import NamedTuple

from segue.processors.definitions.registry import Registry
from segue.processors.durations import rounded_up_ms
from segue.processors.routing.budget import exceeded, together, used_up
from segue.processors.routing.policy import Action, Policy
from segue.processors.routing.selection import following
from segue.processors.stages.put_aside import put_aside
from segue.topics import codec
from segue.topics.errors import BadRecord, UnknownName
from segue.topics.flow import Decision, Publish, Received, Stage
from segue.topics.parts import Refusal, Spent
from segue.topics.records import AttemptFailed, CallModel, CallTool, Delay, Problem, StepFailed

REFUSALS_KEPT_MAX = 32
"""Without the outputs, and those of all candidates: what the workflow is told in the end."""

DOUBLED_AT_MOST = 1_000
"""A float holds no more doublings."""


class Recovery(NamedTuple):
    """What is done about a failure; `problem` is what the step fails by where that is to give up."""

    action: Action
    problem: Problem


def decide(failure: AttemptFailed, policy: Policy, candidates: int) -> Recovery:
    """The policy, in one place. What is over its budget is not tried again in any way."""
    action = _by_policy(failure, policy, candidates)
    over = used_up(_spent(failure), failure.call.budget)
    if over is None or action == "give up":
        return Recovery(action, _problem(failure))
    attempts = f"{over} after {failure.call.attempt} attempts, the last of which failed"
    return Recovery("give up", exceeded(f"{attempts}: {failure.problem.message}"))


def _by_policy(failure: AttemptFailed, policy: Policy, candidates: int) -> Action:
    call = failure.call
    if failure.critique and isinstance(call, CallModel) and len(call.critiques) < policy.max_reprompts:
        return "ask again"
    if not failure.critique and failure.problem.retryable and call.tries < policy.retries:
        return "retry"
    if following(call, candidates) is not None:
        return "reroute"
    return "give up"


def _problem(failure: AttemptFailed) -> Problem:
    call = failure.call
    if isinstance(call, CallModel) and call.judging is not None:
        message = f"judge {call.route!r} gave no verdict: {failure.problem.message}"
        return Problem(type="NoVerdict", message=message, retryable=False)
    return failure.problem


class Recover(Stage):
    def __init__(self, registry: Registry) -> None:
        self._registry = registry

    def handle(self, record: Received, now_ms: int) -> Decision:
        try:
            failure: AttemptFailed = codec.decode(record.topic, record.value)
        except BadRecord as bad:
            return put_aside(record, "recover", str(bad), now_ms)
        return Decision([self._recovered(failure, now_ms)])

    def _recovered(self, failure: AttemptFailed, now_ms: int) -> Publish:
        call, spent, refusals = failure.call, _spent(failure), _refusals(failure)
        policy, candidates = self._policy(call)
        action, problem = decide(failure, policy, candidates)
        match action:
            case "ask again":
                assert failure.critique is not None
                return publish_call(call.criticised(failure.critique, now_ms, spent, refusals))
            case "retry":
                due_ms = _due_ms(failure, policy, now_ms)
                return _later(call.next_attempt(due_ms, spent, refusals, tries=call.tries + 1))
            case "reroute":
                candidate = following(call, candidates)
                assert candidate is not None
                return publish_call(call.next_candidate(candidate, now_ms, spent, refusals))
            case "give up":
                return _gave_up(failure, problem, now_ms)

    def _policy(self, call: CallModel | CallTool) -> tuple[Policy, int]:
        """A route that this worker does not know (it is older, say) gives up: it knows no other candidate."""
        try:
            kind = self._registry.model_route if isinstance(call, CallModel) else self._registry.tool_route
            route = kind(call.route)
        except UnknownName:
            return Policy(retries=0, max_reprompts=0), 0
        return route.policy, len(route.candidates)


def _spent(failure: AttemptFailed) -> Spent | None:
    return together(failure.call.spent, failure.usage)


def _refusals(failure: AttemptFailed) -> tuple[Refusal, ...]:
    if failure.critique is None:
        return failure.call.refusals
    refusal = Refusal(candidate=failure.candidate, reason=failure.critique.reason)
    return (*failure.call.refusals, refusal)[-REFUSALS_KEPT_MAX:]


def _due_ms(failure: AttemptFailed, policy: Policy, now_ms: int) -> int:
    asked_for_ms = rounded_up_ms(failure.problem.retry_after_s or 0.0)
    return now_ms + max(round(backoff_s(failure.call, policy) * 1000), asked_for_ms)


def _later(retry: CallModel | CallTool) -> Publish:
    delay = Delay(
        task=retry.task,
        id=retry.idempotency_key.removeprefix(f"{retry.task}/") + f"/{retry.attempt}",
        due_ms=retry.at_ms,
        topic=publish_call(retry).topic,
        record=retry,
    )
    return Publish("delays", retry.task, delay)


def _gave_up(failure: AttemptFailed, problem: Problem, now_ms: int) -> Publish:
    """A judge without a verdict fails the step that it was to judge: no other candidate would fare better."""
    call = _judged(failure.call)
    event = StepFailed(
        task=call.task,
        step=call.step,
        fingerprint=call.fingerprint,
        problem=problem,
        attempt=call.attempt,
        route=call.route,
        candidate=failure.candidate,
        refusals=_refusals(failure),
        spent=_spent(failure),
        at_ms=now_ms,
    )
    return Publish("events", call.task, event)


def _judged(call: CallModel | CallTool) -> CallModel | CallTool:
    return call.judging.call if isinstance(call, CallModel) and call.judging is not None else call


def publish_call(call: CallModel | CallTool) -> Publish:
    """The call on the topic of its kind."""
    return Publish("model-calls" if isinstance(call, CallModel) else "tool-calls", call.task, call)


def backoff_s(call: CallModel | CallTool, policy: Policy) -> float:
    """Exponential backoff with full jitter, the jitter drawn from the attempt's own name: replays agree.

    Source: "Exponential Backoff And Jitter", AWS Architecture Blog, 2015.
    """
    ceiling: float = min(policy.backoff_s_max, policy.backoff_s * 2.0 ** min(call.tries, DOUBLED_AT_MOST))
    name = f"{call.idempotency_key}/{call.attempt}".encode()
    drawn = int.from_bytes(blake2b(name, digest_size=8).digest()) / 2**64
    return ceiling * drawn
