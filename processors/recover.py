"""Stage `recover`: what happens after an attempt failed. No state: the failure carries its call.

    failures ─▶ recover ─┬▶ …-calls       an output was refused: ask again with the critique
                         ├▶ delays        retry the candidate later
                         ├▶ …-calls       reroute to the next candidate
                         └▶ events, dead-letters   give up: the workflow gets the exception

The transitions are `decide`; the rest is the records that say so.
"""

from hashlib import blake2b
from typing import Literal

from processors.app import App
from processors.routes import Policy
from topics import codec
from topics.errors import BadRecord, UnknownName
from topics.flow import Decision, Publish, Received, Stage, dead_letter
from topics.records import AttemptFailed, CallModel, CallTool, Delay, StepFailed

CRITIQUES_KEPT_MAX = 8
"""A call carries the critiques of its candidate; more than this would crowd out the prompt."""

DOUBLED_AT_MOST = 1_000
"""A float holds no more doublings."""

Action = Literal["ask again", "retry", "reroute", "give up"]


def decide(failure: AttemptFailed, policy: Policy, candidates: int) -> Action:
    """The policy, in one place."""
    call = failure.call
    if failure.critique and isinstance(call, CallModel) and len(call.critiques) < policy.critiques:
        return "ask again"
    if not failure.critique and failure.problem.retryable and call.tries < policy.retries:
        return "retry"
    if call.candidate + 1 < candidates:
        return "reroute"
    return "give up"


class Recover(Stage):
    def __init__(self, app: App) -> None:
        self._app = app

    def handle(self, record: Received, now_ms: int) -> Decision:
        try:
            failure: AttemptFailed = codec.decode(record.topic, record.value)
        except BadRecord as bad:
            return Decision([dead_letter(record, "recover", str(bad), now_ms)])
        policy, candidates = self._policy(failure.call)
        match decide(failure, policy, candidates):
            case "ask again":
                return Decision([_again(failure, now_ms)])
            case "retry":
                return Decision([_later(failure, policy, now_ms)])
            case "reroute":
                return Decision([_next_candidate(failure, now_ms)])
            case "give up":
                reason = f"{failure.call.route}: {failure.problem.message}"
                return Decision(
                    [_gave_up(failure, now_ms), dead_letter(record, "recover", reason, now_ms, failure.task)]
                )

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
    changes = {"attempt": failure.call.attempt + 1, "critiques": critiques, "at_ms": now_ms}
    return _call(failure.call.model_copy(update=changes))


def _later(failure: AttemptFailed, policy: Policy, now_ms: int) -> Publish:
    call = failure.call
    wait_s = max(backoff_s(call, policy), failure.problem.retry_after_s or 0.0)
    due_ms = now_ms + round(wait_s * 1000)
    retry = call.model_copy(update={"attempt": call.attempt + 1, "tries": call.tries + 1, "at_ms": due_ms})
    delay = Delay(
        task=call.task,
        id=f"{call.step}/{retry.attempt}",
        due_ms=due_ms,
        topic=_call(retry).topic,
        record=retry,
    )
    return Publish("delays", call.task, delay)


def _next_candidate(failure: AttemptFailed, now_ms: int) -> Publish:
    call = failure.call
    changes = {
        "attempt": call.attempt + 1,
        "candidate": call.candidate + 1,
        "tries": 0,
        "critiques": (),
        "at_ms": now_ms,
    }
    return _call(call.model_copy(update=changes))


def _gave_up(failure: AttemptFailed, now_ms: int) -> Publish:
    call = failure.call
    event = StepFailed(
        task=call.task,
        step=call.step,
        print=call.print,
        problem=failure.problem,
        attempt=call.attempt,
        route=call.route,
        by=failure.by,
        at_ms=now_ms,
    )
    return Publish("events", call.task, event)


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
