"""What an effect stage does with a record: read it, pass it through the stage's steps, say what comes of it.

The runner knows records, partitions and commits; the steps know models, tools and checks. An exception of
user code becomes an outcome in a step (`catch`), and never reaches the runner.
"""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol

from segue.processors.app.app import App
from segue.processors.routing.policy import Policy
from segue.processors.stages.outcome import Failed, Outcome, decision_of
from segue.streams.calls.candidate_stats import Measured
from segue.streams.calls.context import AnyCall, CallContext, Proceed, Step, chained
from segue.streams.calls.steps import Measure, Payloads, catch, until_owned
from segue.streams.calls.timeouts import Deadlines
from segue.streams.kafka.broker_clock import now_ms
from segue.streams.object_store.claim_check import Owned, at_once, may_refer
from segue.streams.object_store.store import Objects
from segue.streams.observability.metrics import Metrics
from segue.topics import codec
from segue.topics.flow import Decision, Received, tenant_in
from segue.topics.records import CallTool, CheckOutput, Problem


@dataclass(frozen=True)
class Job:
    """A call that can be made. `id` names the attempt: the same record always has the same."""

    id: str
    perform: Callable[[], Awaitable[Decision]]
    instead: Callable[[Problem], Decision]
    """What to publish where the outcome does not fit on its topic, with why."""


class Executor(Protocol):
    async def start(self) -> None: ...

    async def stop(self) -> None: ...

    def candidate(self, call: Any, /) -> str: ...

    async def __call__(self, call: Any, /) -> Any: ...


class Calls(Protocol):
    """The calls of one effect stage."""

    @property
    def executor(self) -> Executor: ...

    def job(self, record: Received, owned: Owned) -> Job:
        """Raises `BadRecord`."""
        ...


class CallPipeline:
    """Passes each call of a stage through the same steps; its outcome becomes records at the end."""

    def __init__(self, app: App, executor: Executor, steps: Sequence[Step], execute: Proceed) -> None:
        self.executor = executor
        self._app = app
        self.outcome = chained(steps, execute)

    def context(self, record: Received, owned: Owned = at_once) -> CallContext:
        """Raises `BadRecord`."""
        asked: AnyCall | CheckOutput = codec.decode(record.topic, record.value)
        call = asked.call if isinstance(asked, CheckOutput) else asked
        by, policy, tenant = self.executor.candidate(asked), self._policy(call), tenant_in(record.headers)
        return CallContext(call, asked, by, policy, tenant, record.headers, may_refer(record.value), owned)

    def job(self, record: Received, owned: Owned = at_once) -> Job:
        return self._job(self.context(record, owned))

    def local(self, call: CallTool, tenant: str | None, owned: Owned = at_once) -> Job:
        """A call that stands on no topic."""
        refers = any(isinstance(value, dict | list) for value in call.arguments.values())
        by, policy = self.executor.candidate(call), self._policy(call)
        return self._job(CallContext(call, call, by, policy, tenant, refers=refers, owned=owned))

    def _policy(self, call: AnyCall) -> Policy:
        """A route that this worker does not know fails by its executor; until then any policy will do."""
        route = self._app.routes.get(call.route)
        return route.policy if route is not None else Policy()

    def _job(self, context: CallContext) -> Job:
        return Job(context.id, partial(self._decision, context), partial(_unfit, context))

    async def _decision(self, context: CallContext) -> Decision:
        outcome: Outcome = await self.outcome(context)
        return decision_of(context.asked, context.candidate, outcome, now_ms())


def _unfit(context: CallContext, problem: Problem) -> Decision:
    return decision_of(context.asked, context.candidate, Failed(problem), now_ms())


def attempt(
    stage: str, metrics: Metrics, objects: Objects | None = None, measured: Measured | None = None
) -> list[Step]:
    """The steps of an attempt, which each call ends with. No time-out runs while it waits to be owned."""
    return [
        until_owned,
        Measure(stage, metrics, measured),
        catch,
        Deadlines(),
        Payloads(objects),
        until_owned,
    ]
