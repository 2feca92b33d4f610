"""A task's timeline: the fold of all records about it into its steps and their attempts.

    events, …-calls, checks, failures, delays, questions, results ─▶ Timeline

It is a view: nothing decides by it. Each record that is applied may also be a `TimelineEvent`, one thing that
happened, for those who watch. A record that is applied twice changes nothing and is no second moment. Records
of a task come from several topics, so their order is only nearly that in which things happened: an answer may
be seen before the call that it answers, and then makes the attempt that the call fills in later.
"""

from collections.abc import Mapping, Sequence
from dataclasses import InitVar, dataclass, field
from types import MappingProxyType
from typing import Any

from segue.processors.formatting import duration, preview
from segue.processors.routing.budget import together
from segue.processors.views.steps import StepsView
from segue.processors.views.timeline_events import Step, TimelineEvent
from segue.topics import codec
from segue.topics.errors import BadRecord
from segue.topics.flow import Received
from segue.topics.parts import Spent
from segue.topics.records import (
    Admitted,
    Answered,
    AttemptFailed,
    CancelRequested,
    CheckOutput,
    Delay,
    NotUndone,
    Problem,
    Question,
    Rejected,
    Result,
    Run,
    SignalReceived,
    Status,
    StepFailed,
    Submitted,
)
from segue.topics.runs import heard_as, run_of

WENT_ON = "went on"
"""The state of a run that is not the task's last."""


@dataclass(slots=True)
class Timeline:
    """`candidates` names the candidates of each route, where whoever looks has the app."""

    task: str
    candidates: InitVar[Mapping[str, Sequence[str]]] = MappingProxyType({})
    workflow: str = ""
    version: int | None = None
    input: Any = None
    state: str = "running"
    started_ms: int | None = None
    began_ms: int | None = None
    """Of a task that had to wait for its turn."""
    ended_ms: int | None = None
    signals: dict[str, SignalReceived] = field(default_factory=dict[str, SignalReceived])
    result: Any = None
    problem: Problem | None = None
    not_undone: tuple[NotUndone, ...] = ()
    view: Any = None
    run: int = 0
    first_step: int = 0
    only: int | None = None
    """The run to tell of, of a task that went on anew; its last, if not given."""
    next_input: Any = None
    """What the run that is told of went on with."""
    now_ms: int = 0
    """The latest time that a record bears."""
    seen: set[tuple[str, int, int]] = field(default_factory=set[tuple[str, int, int]], repr=False)
    _view: StepsView = field(init=False)
    _parked: Status | None = field(init=False, default=None)
    """How it stands, while it is parked."""

    def __post_init__(self, candidates: Mapping[str, Sequence[str]]) -> None:
        self._view = StepsView(self.task, candidates)

    @property
    def steps(self) -> dict[int, Step]:
        return self._view.steps

    def apply(self, received: Received) -> TimelineEvent | None:
        """Fold one record in. What can't be read is passed over: it stands in the dead letters."""
        position = (received.topic, received.partition, received.offset)
        if position in self.seen:
            return None
        self.seen.add(position)
        self.now_ms = max(self.now_ms, received.timestamp_ms)
        if received.topic == "dead-letters":
            return self._dead_letter(received)
        try:
            record = codec.decode(received.topic, received.value)
        except BadRecord:
            return None
        return self._fold(record) if self._is_of_this_run(record) else None

    def _is_of_this_run(self, record: Any) -> bool:
        step = step_of(record)
        return step is None or step >= self.first_step

    @property
    def in_order(self) -> list[Step]:
        return self._view.in_order

    @property
    def running(self) -> list[Step]:
        """Steps whose call is out: what a person waits for right now."""
        calling = ("running", "checking")
        return [
            step
            for step in self.in_order
            if step.outcome == "running" and step.last_attempt and step.last_attempt.outcome in calling
        ]

    @property
    def open_questions(self) -> list[Question]:
        """Those whose answer would be taken. Parked, a task takes one for each that its status names."""
        if self.ended:
            return []
        return [q for q in self._view.open_questions if self._parked is None or self._takes(q, self._parked)]

    def _takes(self, question: Question, parked: Status) -> bool:
        answers = self.steps[question.step].answers.values()
        answered = any(answer.counts is None and answer.at_ms > parked.at_ms for answer in answers)
        return not answered and question.step in [each.step for each in parked.questions]

    @property
    def ended(self) -> bool:
        return self.ended_ms is not None

    @property
    def spent(self) -> Spent | None:
        return together(*(step.consumed for step in self.steps.values()))

    def _fold(self, record: Any) -> TimelineEvent | None:
        match record:
            case Submitted():
                return self._submitted(record)
            case Admitted():
                return self._admitted(record)
            case Rejected() | Result():
                return self._ended(record)
            case SignalReceived():
                return self._signalled(record)
            case CancelRequested():
                return TimelineEvent(
                    record.at_ms, "cancel", text=record.reason + " (by force)" * record.force, mark="again"
                )
            case Status():
                return self._status_changed(record)
            case _:
                return self._view.fold(record, self.now_ms)

    # ------------------------------------------------------------ the task itself

    def _submitted(self, event: Submitted) -> TimelineEvent | None:
        number = run_of(event)
        if self.started_ms is not None and number <= self.run:
            return None
        if self.only is not None and number > self.only:
            return self._went_on(event)
        self._begin_run(event.run)
        self.workflow, self.version, self.input = event.workflow, event.version, event.input
        self.started_ms = event.at_ms
        self.state, self.problem, self.ended_ms = "running", None, None  # the same id may have been rejected
        text = f"run {number}: {preview(event.input)}" if number else preview(event.input)
        return TimelineEvent(event.at_ms, "task", event.workflow, text=text)

    def _went_on(self, event: Submitted) -> TimelineEvent | None:
        """The run that is told of ends with how the next begins."""
        if self.ended:
            return None
        self.state, self.ended_ms, self.next_input = WENT_ON, event.at_ms, event.input
        return TimelineEvent(event.at_ms, "result", WENT_ON, mark="ok", text=preview(event.input))

    def _begin_run(self, run: Run | None) -> None:
        """Of a task that went on anew only the steps of its last run are shown, and what it holds."""
        if run is None:
            return
        self.run, self.first_step = run.number, run.first_step
        self._view.begin(run.first_step)
        self.signals = {signal.id: signal for signal in run.buffered_signals} | {
            id_: signal for id_, signal in self.signals.items() if heard_as(signal) not in run.seen_ids
        }

    def _admitted(self, event: Admitted) -> TimelineEvent | None:
        if self.began_ms is not None:
            return None
        self.began_ms = event.at_ms
        return TimelineEvent(
            event.at_ms, "task", "turn", text=f"begins after {duration(event.waited_ms)} in line"
        )

    def _ended(self, record: Rejected | Result) -> TimelineEvent | None:
        """A request that was rejected with the id of a task that runs is not of that task."""
        if self.ended or (isinstance(record, Rejected) and self.started_ms is not None):
            return None
        self.state = "rejected" if isinstance(record, Rejected) else record.outcome
        self.workflow, self.problem, self.ended_ms = record.workflow, record.problem, record.at_ms
        if isinstance(record, Rejected):
            return TimelineEvent(
                record.at_ms, "result", self.state, mark="failed", text=record.problem.message
            )
        self.result, self.started_ms = record.result, record.started_ms
        self.not_undone = record.not_undone
        ok = record.outcome == "succeeded"
        text = preview(record.result) if ok else (record.problem.message if record.problem else "")
        duration_ms = float(record.at_ms - record.started_ms)
        return TimelineEvent(
            record.at_ms,
            "result",
            self.state,
            mark="ok" if ok else "failed",
            duration_ms=duration_ms,
            text=text,
        )

    def _status_changed(self, status: Status) -> TimelineEvent | None:
        """Only a view and parking are told by the status alone: the rest was told by what caused it."""
        if self.started_ms is None and not self.ended:  # nothing else tells of a task that waits for a worker
            self.workflow, self.version = status.workflow, status.version or None
        was, self.state = self.state, self.state if self.ended else status.state
        self._parked = status if status.state == "parked" else None
        shown, self.view = self.view, status.view
        if self.state != "parked" or was == "parked":
            new = status.view is not None and status.view != shown
            return TimelineEvent(status.at_ms, "view", text=preview(status.view)) if new else None
        self.problem = status.problem
        text = status.problem.message if status.problem else ""
        return TimelineEvent(status.at_ms, "parked", mark="failed", text=text)

    def _dead_letter(self, received: Received) -> TimelineEvent | None:
        """That a step failed for good has been told already, and so why a task was rejected."""
        headers = {name: value.decode(errors="replace") for name, value in received.headers}
        stage = headers.get("segue-stage", "?")
        reason = headers.get("segue-reason", "")
        about = _event_in(received.value) if headers.get("segue-topic") == "events" else None
        if isinstance(about, Answered):
            return self._view.refused(about, reason)
        if isinstance(about, StepFailed) or (self.problem and self.problem.message == reason):
            return None
        return TimelineEvent(received.timestamp_ms, "dead letter", stage, mark="failed", text=reason)

    def _signalled(self, event: SignalReceived) -> TimelineEvent | None:
        if event.id in self.signals:
            return None
        self.signals[event.id] = event
        return TimelineEvent(event.at_ms, "signal", event.name, mark="ok", text=preview(event.value))


def _event_in(letter: bytes | None) -> Any:
    """Return the event that a dead letter is about, or None where its bytes are none."""
    try:
        return codec.decode("events", letter)
    except BadRecord:
        return None


def step_of(record: Any) -> int | None:
    """Which step a record is about, if it is about one."""
    about = record.call if isinstance(record, AttemptFailed | CheckOutput) else record
    about = about.record if isinstance(about, Delay) else about
    step: int | None = getattr(about, "step", None)
    return step
