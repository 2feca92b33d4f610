"""What an effect stage does with one record: read it, make the call, and say what comes of it.

The runner (`effects`) knows records, partitions and commits; this knows models, tools and checks. An
exception of user code becomes a failure record here, and never reaches the runner.
"""

import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Protocol

from segue.processors.app.app import App
from segue.processors.routing.policy import Policy
from segue.processors.stages import check, tool
from segue.processors.stages.reply import Reply
from segue.streams.calls.candidate_selection import CandidateSelector
from segue.streams.calls.candidate_stats import Knowledge, Measured
from segue.streams.calls.failures import output_of, problem_of
from segue.streams.calls.throttle import CallThrottle, Perform
from segue.streams.calls.timeouts import Deadlines
from segue.streams.calls.token_stream import TokenPublisher, told
from segue.streams.kafka.best_effort_producer import BestEffortProducer
from segue.streams.kafka.broker_clock import now_ms
from segue.streams.object_store.claim_check import Owned, PayloadResolver, at_once, may_refer
from segue.streams.object_store.store import Objects
from segue.streams.observability.metrics import Metrics
from segue.streams.process.user_code import raise_if_ours
from segue.streams.text.redaction import redact
from segue.topics import codec
from segue.topics.descriptions import text_of
from segue.topics.errors import OutputRejected
from segue.topics.flow import Decision, Received, is_moved, tenant_in
from segue.topics.records import CallModel, CallTool, CheckOutput, Problem

AnyCall = CallModel | CallTool


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


class RouteCalls:
    """Calls of models or of tools: each ends in an answer or a failure."""

    def __init__(
        self,
        stage: str,
        app: App,
        executor: Executor,
        metrics: Metrics,
        objects: Objects | None = None,
        knowledge: Knowledge | None = None,
        throttle: CallThrottle | None = None,
        best_effort_producer: BestEffortProducer | None = None,
    ) -> None:
        self.executor = executor
        self._stage = stage
        self._app = app
        self._metrics = metrics
        self._objects = objects
        self._deadlines = Deadlines()
        self._measured = Measured()
        self._choosing = CandidateSelector(app, knowledge or self._measured)
        self._throttle = throttle
        self._best_effort_producer = best_effort_producer

    def job(self, record: Received, owned: Owned = at_once) -> Job:
        call: AnyCall = codec.decode(record.topic, record.value)
        if self._choosing.is_due(call):
            return Job(
                f"{_id(call)}/choice",
                lambda: self._choosing.choose(call, record),
                lambda problem: self._unfit(call, problem),
            )
        payload_resolver = self._payload_resolver(
            call, tenant_in(record.headers), refers=may_refer(record.value)
        )
        name = _id(call)
        perform: Perform = lambda: self._perform(call, payload_resolver, owned)  # noqa: E731 - it may be wrapped
        if self._best_effort_producer is not None and isinstance(call, CallModel) and call.stream:
            perform = self._told(self._best_effort_producer, call, record, perform)
        if self._throttle is not None:
            name, perform = self._throttled(self._throttle, call, record, perform)
        return Job(name, perform, lambda problem: self._unfit(call, problem))

    def local(self, call: CallTool, tenant: str | None, owned: Owned = at_once) -> Job:
        """A call that stands on no topic: of a tool that no limit and no choice concern."""
        refers = any(isinstance(value, dict | list) for value in call.arguments.values())
        payload_resolver = self._payload_resolver(call, tenant, refers=refers)
        return Job(
            _id(call),
            lambda: self._perform(call, payload_resolver, owned),
            lambda problem: self._unfit(call, problem),
        )

    def _payload_resolver(self, call: AnyCall, tenant: str | None, *, refers: bool) -> PayloadResolver:
        bytes_max = _policy(self._app, call).result_bytes_max
        return PayloadResolver(self._objects, call.task, tenant, refers=refers, bytes_max=bytes_max)

    def _throttled(
        self, throttle: CallThrottle, call: AnyCall, record: Received, perform: Perform
    ) -> tuple[str, Perform]:
        """A call that was moved has another name than before it was, should both come to one worker."""
        by = self.executor.candidate(call)
        return _id(call) + "/moved" * is_moved(record), lambda: throttle.serve(call, by, record, perform)

    def _told(
        self, best_effort_producer: BestEffortProducer, call: CallModel, record: Received, perform: Perform
    ) -> Perform:
        by, tenant = self.executor.candidate(call), tenant_in(record.headers)
        return lambda: told(TokenPublisher(best_effort_producer, call, by, tenant), perform)

    async def _perform(self, call: AnyCall, payload_resolver: PayloadResolver, owned: Owned) -> Decision:
        await owned()  # its time-out does not run meanwhile
        by, started_s = self.executor.candidate(call), time.perf_counter()
        try:
            timeout_s = _policy(self._app, call).timeout_s
            reply: Reply = await self._deadlines.within(
                timeout_s, payload_resolver.serve(self.executor, call, owned)
            )
        except BaseException as error:  # noqa: BLE001 - user code may raise anything
            raise_if_ours(error)
            duration_s = time.perf_counter() - started_s
            self._measure(call, by, "timed_out" if isinstance(error, TimeoutError) else "failed", duration_s)
            return tool.failed(call, by, problem_of(error), duration_s * 1000, now_ms(), *output_of(error))
        duration_s = time.perf_counter() - started_s
        self._measure(call, by, "succeeded", duration_s)
        return tool.replied(call, reply, duration_s * 1000, now_ms())

    def _unfit(self, call: AnyCall, problem: Problem) -> Decision:
        return tool.failed(call, self.executor.candidate(call), problem, 0.0, now_ms())

    def _measure(self, call: AnyCall, by: str, outcome: str, seconds: float) -> None:
        self._metrics.attempt(self._stage, call.route, by, outcome, seconds)
        if call.choice is not None:
            self._measured.add(call.route, by, succeeded=outcome == "succeeded", duration_s=seconds)


class CheckCalls:
    """Checks of outputs: each is accepted, refused with a critique, or the check itself failed."""

    def __init__(
        self, stage: str, app: App, executor: Executor, metrics: Metrics, objects: Objects | None = None
    ) -> None:
        self.executor = executor
        self._stage = stage
        self._app = app
        self._metrics = metrics
        self._objects = objects
        self._deadlines = Deadlines()

    def job(self, record: Received, owned: Owned = at_once) -> Job:
        output: CheckOutput = codec.decode(record.topic, record.value)
        payload_resolver = PayloadResolver(
            self._objects, output.task, tenant_in(record.headers), refers=may_refer(record.value)
        )
        name = _id(output.call) if output.verdict is None else f"{_id(output.call)}/judged-{output.passed}"
        return Job(
            name,
            lambda: self._perform(output, payload_resolver, owned),
            lambda problem: check.unchecked(output, problem, now_ms()),
        )

    async def _perform(
        self, output: CheckOutput, payload_resolver: PayloadResolver, owned: Owned
    ) -> Decision:
        await owned()
        started_s = time.perf_counter()
        outcome, decision = await self._checked(output, payload_resolver, owned)
        by = self.executor.candidate(output)
        seconds = time.perf_counter() - started_s
        self._metrics.attempt(self._stage, output.call.route, by, outcome, seconds)
        return decision

    async def _checked(
        self, output: CheckOutput, payload_resolver: PayloadResolver, owned: Owned
    ) -> tuple[str, Decision]:
        try:
            timeout_s = _policy(self._app, output.call).timeout_s
            place: int | None = await self._deadlines.within(
                timeout_s, payload_resolver.serve(self.executor, output, owned)
            )
        except OutputRejected as refusal:
            return "refused", check.refused(output, redact(text_of(refusal)), now_ms())
        except BaseException as error:  # noqa: BLE001 - user code may raise anything
            raise_if_ours(error)
            return "failed", check.unchecked(output, problem_of(error), now_ms())
        if place is not None:
            return "judged", check.to_judge(output, place, now_ms())
        return "accepted", check.accepted(output, now_ms())


def _id(call: AnyCall) -> str:
    return f"{call.idempotency_key}/{call.attempt}"


def _policy(app: App, call: AnyCall) -> Policy:
    """A route that this worker does not know fails by its executor; until then any time-out will do."""
    route = app.routes.get(call.route)
    return route.policy if route is not None else Policy()
