"""What a worker tells Prometheus.

Counters about tasks and steps are a fold over what the stages published, and are fed only after a commit: a
transaction that failed is never counted, its repetition once. With `at_least_once` a redelivered record
publishes again, and so counts again. Gauges say how things are now, for the partitions that this worker
holds; `revoked` takes a lost partition's away, so that only its new holder speaks for it.

Every label has few values: names that an app declares, stages, topics, partitions, outcomes. What comes from
outside (a task id, a person, the name of a workflow that does not exist) is never one.
"""

from collections.abc import Callable, Collection, Iterable
from itertools import pairwise
from typing import assert_never, cast, get_args

from segue.processors.app.app import App
from segue.streams.observability.metric_definitions import MetricDefinitions
from segue.streams.observability.metrics_server import Exposition
from segue.topics import contracts
from segue.topics.flow import Publish
from segue.topics.health import State
from segue.topics.parts import Usage
from segue.topics.records import (
    Admitted,
    Answer,
    Answered,
    AttemptFailed,
    CallModel,
    CallTool,
    Cancel,
    CancelRequested,
    CheckOutput,
    Delay,
    Event,
    Outcome,
    PutAside,
    Question,
    QuestionClosed,
    RecordsLost,
    Rejected,
    Result,
    Signal,
    SignalReceived,
    Status,
    StepFailed,
    StepSucceeded,
    Submitted,
    TaskRequest,
    TimerFired,
)

Command = CallModel | CallTool | CheckOutput | Delay
FromOutside = TaskRequest | Answer | Signal | Cancel
ForPeople = Question | QuestionClosed | Result | Status
Published = None | bytes | Event | RecordsLost | Command | AttemptFailed | ForPeople | FromOutside
"""All that stages publish in their commits; bytes are dead letters, None forgets a status."""

STAGE_OF = {
    topic.name: topic.read_by[0]
    for topic in contracts.ALL
    if topic.cleanup == "delete" and not topic.beside and "outside" not in topic.read_by
}
"""Who reads what is published to a topic."""

CIRCUIT_STATES: tuple[State, ...] = ("closed", "half_open", "open")
"""By the number that the metric gives."""


class Metrics(MetricDefinitions):
    """The metrics of one worker, in a registry of their own. `app` tells which names are names."""

    def __init__(self, app: App, worker: str | None = None) -> None:
        super().__init__(worker)
        self._workflows = {name for name, _ in app.workflows}
        self._candidates = {name: route.names for name, route in app.routes.items()}
        self._exposition: Exposition | None = None
        self._begin_at_zero(circuits=app.circuit_breaker is not None)

    def _begin_at_zero(self, *, circuits: bool) -> None:
        """A series that appears with 1 shows no rise: what alerts watch is there from the start."""
        for topic in contracts.ALL:
            for stage in set(topic.read_by) - {"outside", "" if circuits else "health"}:
                self._dead_letters[stage, topic.name].inc(0)
                self._lost[stage, topic.name].inc(0)
        for stage in set(STAGE_OF.values()):
            self._served[(stage,)].set(0)
            self._handed_on[(stage,)].inc(0)
        for stage in ("model", "tool", "check"):
            self._full[(stage,)].set(0)
        for workflow in self._workflows:
            self._tasks_submitted[(workflow,)].inc(0)
            self._tasks_parked[(workflow,)].inc(0)
            self._tasks_queued[(workflow,)].inc(0)
            for outcome in get_args(Outcome):
                self._tasks_ended[workflow, outcome].inc(0)
        for candidate in {name for names in self._candidates.values() for name in names if circuits}:
            self._circuits_opened[(candidate,)].inc(0)
        for route, names in self._candidates.items():
            for one, following in pairwise(names):
                self._fallbacks[route, one, following].inc(0)

    # ------------------------------------------------------------ what was published

    def published(self, stage: str, records: Iterable[Publish]) -> None:
        """Count what a stage published. Call it after the commit, with every record once."""
        for record in records:
            self._count(stage, record)
            if (reader := STAGE_OF.get(record.topic)) is not None:
                self._handed_on[(reader,)].inc()

    def _count(self, stage: str, publish: Publish) -> None:
        """The commonest kinds stand first: each case that does not match costs 0.1 µs."""
        record = cast("Published", publish.value)
        match record:
            case bytes():
                origin = dict(publish.headers).get("segue-topic", b"").decode(errors="replace")
                self._dead_letters[stage, origin].inc()
            case StepSucceeded():
                self._step_succeeded(stage, record)
            case CallTool() | CallModel():
                self._called(stage, record)
            case Status():
                self._status_changed(record)
            case Submitted() if record.run is not None:
                pass  # the same task, anew
            case Submitted():
                self._tasks_submitted[(self._workflow(record.workflow),)].inc()
            case Result():
                ended = self._workflow(record.workflow), record.outcome
                self._tasks_ended[ended].inc()
                self._task_seconds[ended].observe((record.at_ms - record.started_ms) / 1000)
                self._spent(record)
            case AttemptFailed():
                self._attempt_failed(stage, record)
            case Delay():
                self._delayed(record)
            case TimerFired():
                self._timers[("fired",)].inc()
            case CheckOutput():
                self._checked(record)
            case StepFailed():
                self._steps_ended[stage, record.candidate or "", "failed"].inc()
            case Question():
                self._questions_asked[(self._workflow(record.workflow),)].inc()
            case QuestionClosed():
                self._questions_closed[(record.reason,)].inc()
            case Answered() | SignalReceived() | CancelRequested():
                if stage == "intake":  # others hand on what intake let in
                    self._signals[(record.kind,)].inc()
            case Admitted():
                self._task_queue_wait[(str(record.priority),)].observe(record.waited_ms / 1000)
            case Rejected() | PutAside() | None:
                pass  # its `Result` counts it; what is forgotten was counted
            case RecordsLost():
                pass  # counted by those who found it
            case TaskRequest() | Answer() | Signal() | Cancel():
                pass  # outsiders publish these; the events that come of them are counted
            case _:
                assert_never(record)

    def _spent(self, record: Result) -> None:
        """A child's is its parent's too, so the sum over workflows is of no use: each tells of itself."""
        if record.spent is not None:
            self._task_usd[(self._workflow(record.workflow),)].inc(record.spent.usd)
            self._task_tokens[(self._workflow(record.workflow),)].inc(record.spent.tokens)

    def _status_changed(self, record: Status) -> None:
        if record.state == "parked":
            self._tasks_parked[(self._workflow(record.workflow),)].inc()
        elif record.state == "queued":
            self._tasks_queued[(self._workflow(record.workflow),)].inc()

    def _step_succeeded(self, stage: str, record: StepSucceeded) -> None:
        self._steps_ended[stage, record.candidate or "", "succeeded"].inc()
        if stage == "check":
            self._checks[record.candidate or "", "accepted"].inc()
        elif record.usage is not None:
            self._consumed(record.usage, record.candidate or "")

    def _called(self, stage: str, call: CallModel | CallTool) -> None:
        """From conduct a new step, from recover another way to do one; delay hands on what was counted."""
        if stage == "conduct":
            self._steps_started[self._workflow(call.workflow), call.route].inc()
        elif stage in ("model", "tool"):
            self._selections[call.route, self._candidate(call)].inc()
        elif stage == "recover" and call.critiques:
            self._reprompts[call.route, self._candidate(call)].inc()
        elif stage == "recover":
            moved = self._before(call), self._candidate(call)
            self._fallbacks[call.route, *moved].inc()

    def _attempt_failed(self, stage: str, record: AttemptFailed) -> None:
        self._failures[stage, record.call.route, record.candidate, record.problem.type].inc()
        if stage == "check":
            self._checks[record.candidate, "refused" if record.critique else "failed"].inc()
        else:
            self._consumed(record.usage, record.candidate)

    def _delayed(self, delay: Delay) -> None:
        match delay.record:
            case TimerFired():
                self._timers[("set",)].inc()
            case CallModel() | CallTool() as call:
                self._retries[call.route, self._candidate(call)].inc()
            case Answered() | SignalReceived() | CancelRequested():
                pass  # held back for a worker that knows the task's workflow

    def _consumed(self, usage: Usage | None, by: str) -> None:
        if usage is not None:
            model = usage.model or by
            self._model_tokens[model, "input"].inc(usage.input_tokens)
            self._model_tokens[model, "output"].inc(usage.output_tokens)
            if usage.usd is None:
                self._unpriced[(model,)].inc(usage.input_tokens + usage.output_tokens)
            else:
                self._model_cost_usd[(model,)].inc(usage.usd)

    def _checked(self, output: CheckOutput) -> None:
        """From the model stage, to be checked; or with the verdict of a judge, and what that consumed."""
        self._consumed(output.usage if output.verdict is None else output.verdict.usage, output.candidate)

    # ------------------------------------------------------------ what happens now

    def in_flight(self, stage: str, calls: Callable[[], int]) -> None:
        """`calls` is asked whenever the metrics are read."""
        self._in_flight[(stage,)].set_function(calls)

    def circuit(self, candidate: str, state: Callable[[], State]) -> None:
        """How this worker goes by its circuit: `state` is asked whenever the metrics are read."""
        self._circuit[(candidate,)].set_function(lambda: float(CIRCUIT_STATES.index(state())))

    def circuit_opened(self, candidate: str) -> None:
        """It was closed, or not known. Told by the worker that judged it, and by no other."""
        self._circuits_opened[(candidate,)].inc()

    def limit_wait(self, stage: str, limit: str, waited_s: Callable[[], float]) -> None:
        """Of the first of those that it holds back here; asked whenever the metrics are read."""
        self._rate_limit_wait[stage, limit].set_function(waited_s)

    def attempt(self, stage: str, route: str, candidate: str, outcome: str, seconds: float) -> None:
        """A call ended. `outcome` is one word: `succeeded`, or how it failed; for a check what it decided."""
        self._attempt_seconds[stage, route, candidate, outcome].observe(seconds)

    def batch(self, stage: str, records: int, seconds: float) -> None:
        """A batch of `records` was committed; its transaction took `seconds`."""
        self._batch_records[(stage,)].observe(records)
        self._commit_seconds[(stage,)].observe(seconds)

    def lost(self, stage: str, topic: str, offsets: int) -> None:
        self._lost[stage, topic].inc(offsets)

    def lag(self, stage: str, topic: str, partition: int, records: int) -> None:
        self._lag[stage, topic, str(partition)].set(records)

    def serves(self, stage: str, partitions: Collection[int]) -> None:
        self._served[(stage,)].set(len(partitions))

    def full_partitions(self, stage: str, partitions: int) -> None:
        """So many take no new calls: their unfinished ones fill a commit's metadata."""
        self._full[(stage,)].set(partitions)

    def parked(self, partition: int, tasks: int) -> None:
        self._parked_now[(str(partition),)].set(tasks)

    def restoring(self, stage: str, partition: int, remaining: int) -> None:
        """`remaining` changelog records are still to read; 0 says that the partition is restored."""
        self._restoring[stage, str(partition)].set(remaining)

    def revoked(self, stage: str, partition: int) -> None:
        """Another worker speaks for the partition from now on."""
        held = stage, str(partition)
        self._lag.forget(lambda labels: (labels[0], labels[2]) == held)
        self._restoring.forget(lambda labels: labels == held)
        if stage == "conduct":
            self._parked_now.forget(lambda labels: labels == held[1:])

    # ------------------------------------------------------------ exposition

    async def serve(self, host: str, port: int, ready: Callable[[], bool]) -> int:
        """Answer at `host` on `port`, or the next free one, until `close`; return the port.

        `ready` answers /readyz. Raises `Unavailable` if this machine does not have that address.
        """
        self._exposition = Exposition(self.registry, ready)
        return await self._exposition.start(host, port)

    async def close(self) -> None:
        if self._exposition is not None:
            await self._exposition.stop()
            self._exposition = None

    # ------------------------------------------------------------ names

    def _workflow(self, name: str) -> str:
        return name if name in self._workflows else "unknown"

    def _candidate(self, call: CallModel | CallTool, number: int | None = None) -> str:
        """The candidate's name; its number where this worker does not know the route as it was."""
        names = self._candidates.get(call.route, [])
        index = call.candidate_index if number is None else number
        return names[index] if 0 <= index < len(names) else str(index)

    def _before(self, call: CallModel | CallTool) -> str:
        """Who was called before, in the order that was chosen or else in the route's."""
        order = call.choice.order if call.choice is not None else ()
        place = order.index(call.candidate_index) if call.candidate_index in order else 0
        return self._candidate(call, order[place - 1] if place > 0 else call.candidate_index - 1)
