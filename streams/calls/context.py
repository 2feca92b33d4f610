"""One call on its way through the steps of its stage, and what a step is.

    record ─▶ CallContext ─▶ step ─▶ step ─▶ … ─▶ the executor
                          ◀─ Outcome ◀───────────────┘             records are made of it at the very end

A step is `async (context, proceed) -> Outcome`. It awaits `proceed(context)` for the outcome of the steps
behind it, with another context where they are to see something else; or it returns an outcome of its own.
"""

from collections.abc import Awaitable, Callable, Sequence
from typing import NamedTuple, Protocol

from segue.processors.routing.policy import Policy
from segue.processors.stages.outcome import Outcome
from segue.streams.calls.token_stream import TokenPublisher
from segue.streams.object_store.claim_check import Owned, at_once
from segue.topics.flow import Headers, moved_in
from segue.topics.records import CallModel, CallTool, CheckOutput

AnyCall = CallModel | CallTool


class CallContext(NamedTuple):
    """A call, or a check of what a call has answered."""

    call: AnyCall
    """As it was received: values that it refers to are references."""
    asked: CallModel | CallTool | CheckOutput
    """What the executor is asked: the call, or its output that is to be checked."""
    candidate: str
    policy: Policy
    tenant: str | None
    headers: Headers = ()
    refers: bool = True
    """Whether `asked` may refer to values in the object store."""
    owned: Owned = at_once
    telling: TokenPublisher | None = None
    """Takes what a model writes while it writes it, if somebody wants that."""

    @property
    def id(self) -> str:
        """Names the attempt: the same record always has the same, a call that was requeued has another."""
        call = self.call
        name = f"{call.idempotency_key}/{call.attempt}"
        if isinstance(self.asked, CheckOutput):
            return name if self.asked.verdict is None else f"{name}/judged-{self.asked.passed}"
        if call.choice is not None:
            name += "/chosen"
        return name + "/moved" if moved_in(self.headers) else name


Proceed = Callable[[CallContext], Awaitable[Outcome]]


class Step(Protocol):
    async def __call__(self, context: CallContext, proceed: Proceed) -> Outcome: ...


def chained(steps: Sequence[Step], execute: Proceed) -> Proceed:
    """What passes a context through all steps to `execute`; the first sees it first, and its outcome last."""
    proceed = execute
    for step in reversed(steps):
        proceed = _before(proceed, step)
    return proceed


def _before(proceed: Proceed, step: Step) -> Proceed:
    """A closure: a `partial` takes twice as long, at each step of each call."""

    def passed(context: CallContext) -> Awaitable[Outcome]:
        return step(context, proceed)

    return passed
