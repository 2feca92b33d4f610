"""A task's timeline: the fold of all records about it into its steps and their attempts.

    events, …-calls, checks, failures, delays, questions, results ─▶ Timeline

It is a view: nothing decides by it. Each record that is applied may also be a `Moment`, one thing that
happened, for those who watch. A record that is applied twice changes nothing and is no second moment. Records
of a task come from several topics, so their order is only nearly that in which things happened: an answer may
be seen before the call that it answers, and then makes the attempt that the call fills in later.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from processors.again import heard_as, run_of
from processors.budget import consumed, together
from processors.moments import DEADLINE, Attempt, Kind, Moment, Step, What
from processors.preview import duration, preview
from topics import codec
from topics.errors import BadRecord
from topics.flow import Received
from topics.parts import Choice, Spent
from topics.records import (
    Admitted,
    Answered,
    AttemptFailed,
    CallModel,
    CallTool,
    CancelRequested,
    CheckOutput,
    Delay,
    NotUndone,
    Problem,
    Question,
    QuestionClosed,
    Rejected,
    Result,
    Run,
    SignalReceived,
    Status,
    StepFailed,
    StepSucceeded,
    Submitted,
    TimerFired,
)

WENT_ON = "went on"
"""The state of a run that is not the task's last."""


@dataclass(slots=True)
class Timeline:
    """`candidates` names the candidates of each route, where whoever looks has the app."""

    task: str
    candidates: Mapping[str, Sequence[str]] = field(default_factory=dict[str, Sequence[str]])
    workflow: str = ""
    version: int | None = None
    input: Any = None
    state: str = "running"
    started_ms: int | None = None
    began_ms: int | None = None
    """Of a task that had to wait for its turn."""
    ended_ms: int | None = None
    steps: dict[int, Step] = field(default_factory=dict[int, Step])
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

    def apply(self, received: Received) -> Moment | None:
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
        return [self.steps[number] for number in sorted(self.steps)]

    @property
    def running(self) -> list[Step]:
        """Steps whose call is out: what a person waits for right now."""
        return [
            s for s in self.in_order if s.last_attempt and s.last_attempt.outcome in ("running", "checking")
        ]

    @property
    def open_questions(self) -> list[Question]:
        return [s.question for s in self.in_order if s.question and s.outcome == "waiting"]

    @property
    def ended(self) -> bool:
        return self.ended_ms is not None

    @property
    def spent(self) -> Spent | None:
        return together(*(step.consumed for step in self.steps.values()))

    def _fold(self, record: Any) -> Moment | None:
        match record:
            case Submitted():
                return self._submitted(record)
            case Admitted():
                return self._admitted(record)
            case Rejected() | Result():
                return self._ended(record)
            case CallModel() | CallTool():
                return self._called(record)
            case CheckOutput():
                return self._checking(record)
            case AttemptFailed():
                return self._failed(record)
            case StepSucceeded():
                return self._succeeded(record)
            case StepFailed():
                return self._gave_up(record)
            case Delay(record=TimerFired() as timer):
                return self._armed(timer, record)
            case Delay(record=CallModel() | CallTool() as call):
                return self._retry_later(call, record)
            case TimerFired():
                return self._fired(record)
            case Question():
                return self._asked(record)
            case QuestionClosed():
                return self._closed(record)
            case Answered():
                return self._answered(record)
            case SignalReceived():
                return self._signalled(record)
            case CancelRequested():
                return Moment(record.at_ms, "cancel", text=record.reason, mark="again")
            case Status():
                return self._stands(record)
            case _:
                pass
        return None

    # ------------------------------------------------------------ the task itself

    def _submitted(self, event: Submitted) -> Moment | None:
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
        return Moment(event.at_ms, "task", event.workflow, text=text)

    def _went_on(self, event: Submitted) -> Moment | None:
        """The run that is told of ends with how the next begins."""
        if self.ended:
            return None
        self.state, self.ended_ms, self.next_input = WENT_ON, event.at_ms, event.input
        return Moment(event.at_ms, "result", WENT_ON, mark="ok", text=preview(event.input))

    def _begin_run(self, run: Run | None) -> None:
        """Of a task that went on anew only the steps of its last run are shown, and what it holds."""
        if run is None:
            return
        self.run, self.first_step = run.number, run.first_step
        self.steps = {number: step for number, step in self.steps.items() if number >= run.first_step}
        self.signals = {signal.id: signal for signal in run.held} | {
            id_: signal for id_, signal in self.signals.items() if heard_as(signal) not in run.heard
        }

    def _admitted(self, event: Admitted) -> Moment | None:
        if self.began_ms is not None:
            return None
        self.began_ms = event.at_ms
        return Moment(event.at_ms, "task", "turn", text=f"begins after {duration(event.waited_ms)} in line")

    def _ended(self, record: Rejected | Result) -> Moment | None:
        """A request that was rejected with the id of a task that runs is not of that task."""
        if self.ended or (isinstance(record, Rejected) and self.started_ms is not None):
            return None
        self.state = "rejected" if isinstance(record, Rejected) else record.outcome
        self.workflow, self.problem, self.ended_ms = record.workflow, record.problem, record.at_ms
        if isinstance(record, Rejected):
            return Moment(record.at_ms, "result", self.state, mark="failed", text=record.problem.message)
        self.result, self.started_ms = record.result, record.started_ms
        self.not_undone = record.not_undone
        ok = record.outcome == "succeeded"
        text = preview(record.result) if ok else (record.problem.message if record.problem else "")
        took_ms = float(record.at_ms - record.started_ms)
        return Moment(
            record.at_ms, "result", self.state, mark="ok" if ok else "failed", took_ms=took_ms, text=text
        )

    def _stands(self, status: Status) -> Moment | None:
        """Only a view and parking are told by the status alone: the rest was told by what caused it."""
        was, self.state = self.state, self.state if self.ended else status.state
        shown, self.view = self.view, status.view
        if self.state != "parked" or was == "parked":
            new = status.view is not None and status.view != shown
            return Moment(status.at_ms, "view", text=preview(status.view)) if new else None
        self.problem = status.problem
        text = status.problem.message if status.problem else ""
        return Moment(status.at_ms, "parked", mark="failed", text=text)

    def _dead_letter(self, received: Received) -> Moment | None:
        """What recover put there has been told already, the step failed; and so why a task was rejected."""
        headers = {name: value.decode(errors="replace") for name, value in received.headers}
        stage = headers.get("segue-stage", "?")
        reason = headers.get("segue-reason", "")
        if stage == "recover" or (self.problem and self.problem.message == reason):
            return None
        return Moment(received.timestamp_ms, "dead letter", stage, mark="failed", text=reason)

    # ------------------------------------------------------------ calls and their attempts

    def _called(self, call: CallModel | CallTool) -> Moment | None:
        """The next attempt of a step says what was decided about the one before it."""
        if _is_judges(call):
            return None  # what it judges is being checked
        step, attempt = self._attempt_of(call)
        if call.choice is not None and step.choice is None:
            return self._chosen(call, call.choice)
        if attempt.started_ms is not None:
            return None
        attempt.started_ms, attempt.candidate = call.at_ms, call.candidate
        attempt.by = attempt.by or self._candidate(call)
        before = step.attempts.get(call.attempt - 1)
        if before is None or before.then is not None:
            return None
        if call.candidate != before.candidate:
            before.then = "reroute"
            by = attempt.by or f"candidate {call.candidate + 1}"
            return Moment(
                call.at_ms, "reroute", call.route, call.step, by, call.attempt, "again", text=f"to {by}"
            )
        before.then = "ask again"
        text = "asked again, with the critique"
        return Moment(
            call.at_ms, "again", call.route, call.step, attempt.by or "", call.attempt, "again", text=text
        )

    def _chosen(self, call: CallModel | CallTool, choice: Choice) -> Moment | None:
        """Told before the first attempt, which was asked for before anybody was chosen."""
        step, attempt = self._attempt_of(call)
        step.choice = choice
        if not choice.order:
            return None  # its failure says so
        attempt.started_ms, attempt.candidate = call.at_ms, call.candidate
        if attempt.outcome == "running":  # what it was before is the route's first, who may not be chosen
            attempt.by = self._candidate(call)
        by = attempt.by or f"candidate {call.candidate + 1}"
        text = f"{choice.by}: {choice.reason}"
        return Moment(call.at_ms, "choice", call.route, call.step, by, call.attempt, text=text)

    def _checking(self, output: CheckOutput) -> Moment | None:
        """What a judge does not accept is told by the failure that comes of it."""
        step, attempt = self._attempt_of(output.call)
        attempt.by, attempt.took_ms, attempt.usage = output.by, output.took_ms, output.usage
        if attempt.outcome == "running":
            attempt.outcome = "checking"
        if output.verdict is None or not output.verdict.accepted:
            return None
        by, number = output.verdict.by, output.call.attempt
        text = "accepts the output"
        return Moment(output.at_ms, "check", step.name, step.number, by, number, "ok", text=text)

    def _failed(self, failure: AttemptFailed) -> Moment | None:
        call = failure.call
        if _is_judges(call):
            text = f"judge {call.route}: {failure.problem.message}"
            return Moment(failure.at_ms, "check", call.route, call.step, failure.by, mark="failed", text=text)
        step, attempt = self._attempt_of(call)
        attempt.usage = failure.usage or attempt.usage
        if call.choice is not None:
            step.choice = call.choice
        if attempt.outcome in ("failed", "refused"):
            return None
        if attempt.outcome == "succeeded":  # the output was not of the type that the workflow asked for
            step.outcome, step.result, step.ended_ms = "running", None, None
        attempt.by, attempt.candidate, attempt.took_ms = failure.by, call.candidate, failure.took_ms
        attempt.outcome = "refused" if failure.critique else "failed"
        attempt.reason, attempt.traceback = failure.problem.message, failure.problem.traceback
        what: What = "check" if failure.critique and call.checks else _kind(call)
        text = f"refused: {attempt.reason}" if failure.critique else attempt.reason
        return Moment(
            failure.at_ms,
            what,
            step.name,
            step.number,
            failure.by,
            call.attempt,
            "failed",
            failure.took_ms,
            text,
        )

    def _retry_later(self, call: CallModel | CallTool, delay: Delay) -> Moment | None:
        if _is_judges(call):
            return None
        step = self._step(call.step, _kind(call), call.route)
        before = step.attempt(call.attempt - 1)
        if before.then is not None:
            return None
        before.then, before.wait_ms = "retry", max(0, delay.due_ms - self.now_ms)
        text = f"in {duration(before.wait_ms)}"
        by = before.by or ""
        return Moment(self.now_ms, "retry", step.name, step.number, by, call.attempt, "again", text=text)

    def _succeeded(self, event: StepSucceeded) -> Moment | None:
        step = self._outcome_of(event)
        tried = step.attempts.get(event.attempt)
        if step.outcome == "succeeded" or (tried and tried.outcome in ("failed", "refused")):
            return None
        step.outcome, step.result, step.ended_ms = "succeeded", event.result, event.at_ms
        if step.kind == "tool" and step.started_ms is None:
            step.started_ms = event.at_ms - round(event.took_ms)
        step.spent, step.choice = consumed(event), event.choice or step.choice
        if step.kind in ("model", "tool"):
            attempt = step.attempt(event.attempt)
            attempt.by, attempt.took_ms, attempt.usage = event.by, event.took_ms, event.usage
            attempt.outcome = "succeeded"
        took_ms, attempt_number = (None, None) if step.kind == "child" else (event.took_ms, event.attempt)
        text = preview(event.result)
        return Moment(
            event.at_ms,
            step.what,
            step.name,
            step.number,
            event.by or "",
            attempt_number,
            "ok",
            took_ms,
            text,
        )

    def _gave_up(self, event: StepFailed) -> Moment | None:
        step = self._outcome_of(event)
        if step.outcome == "failed":
            return None
        step.outcome, step.problem, step.ended_ms = "failed", event.problem, event.at_ms
        step.spent = consumed(event)
        if event.attempt in step.attempts:
            step.attempts[event.attempt].then = "give up"
        text = f"gave up: {event.problem.message}"
        return Moment(
            event.at_ms, step.what, step.name, step.number, event.by or "", event.attempt, "failed", text=text
        )

    # ------------------------------------------------------------ people, time, the outside

    def _asked(self, question: Question) -> Moment | None:
        step = self._step(question.step, "ask", question.to)
        if step.question is not None:
            return None
        step.question, step.outcome, step.started_ms = question, "waiting", question.at_ms
        for other in self.steps.values():
            if other.kind == "timer" and other.due_ms == question.closes_at_ms:
                other.name = DEADLINE
        return Moment(
            question.at_ms,
            "ask",
            question.to,
            question.step,
            mark="waiting",
            text=question.text,
            options=question.options,
        )

    def _answered(self, event: Answered) -> Moment:
        waiting = [q.step for q in self.open_questions]
        number = event.step if event.step is not None else (waiting[0] if len(waiting) == 1 else None)
        step = self.steps.get(number) if number is not None else None
        if step is not None:
            step.result = event.value
        text = label_of(step.question, event.value) if step and step.question else preview(event.value)
        return Moment(
            event.at_ms, "answer", step.name if step else "", number, event.by or "", mark="ok", text=text
        )

    def _closed(self, event: QuestionClosed) -> Moment | None:
        step = self._step(event.step, "ask", "")
        if step.outcome not in ("running", "waiting"):
            return None
        step.outcome = "succeeded" if event.reason == "answered" else "ended"
        step.ended_ms = event.at_ms
        if event.reason != "expired":
            return None
        return Moment(
            event.at_ms, "ask", step.name, step.number, mark="failed", text="nobody answered in time"
        )

    def _armed(self, timer: TimerFired, delay: Delay) -> Moment | None:
        """A question's own deadline is told with the question."""
        step = self._step(timer.step, "timer", "")
        if step.due_ms is not None or step.outcome != "running":
            return None
        step.due_ms, step.started_ms = delay.due_ms, self.now_ms
        if any(s.question.closes_at_ms == delay.due_ms for s in self.steps.values() if s.question):
            step.name = DEADLINE
            return None
        text = f"set for {duration(max(0, delay.due_ms - self.now_ms))}"
        return Moment(self.now_ms, "timer", step=step.number, mark="waiting", text=text)

    def _fired(self, event: TimerFired) -> Moment | None:
        step = self._step(event.step, "timer", "")
        if step.outcome in ("succeeded", "ended") or step.kind != "timer":
            return None
        step.outcome, step.ended_ms = "succeeded", event.at_ms
        if step.name == DEADLINE:
            return None
        return Moment(self.now_ms, "timer", step=step.number, mark="ok", text="is due")

    def _signalled(self, event: SignalReceived) -> Moment | None:
        if event.id in self.signals:
            return None
        self.signals[event.id] = event
        return Moment(event.at_ms, "signal", event.name, mark="ok", text=preview(event.value))

    # ------------------------------------------------------------ finding the place

    def _step(self, number: int, kind: Kind, name: str) -> Step:
        """The step, made if it is new; a call or a question says what a step that was only guessed is."""
        step = self.steps.setdefault(number, Step(number, kind, name))
        if kind in ("model", "tool", "ask") and step.kind in ("child", "timer"):
            step.kind, step.name = kind, name
        return step

    def _attempt_of(self, call: CallModel | CallTool) -> tuple[Step, Attempt]:
        step = self._step(call.step, _kind(call), call.route)
        if call.attempt == 1:
            step.started_ms = call.at_ms
        if isinstance(call, CallTool):
            step.undoes = call.undoes
        return step, step.attempt(call.attempt)

    def _outcome_of(self, event: StepSucceeded | StepFailed) -> Step:
        """The step; one without a call or question before it was a local tool's, or is a child task.

        A child is named after its parent, which needs no second telling.
        """
        if event.route is not None and event.step not in self.steps:
            return self._step(event.step, "tool", event.route)
        return self._step(event.step, "child", (event.by or "").replace(self.task, "…", 1))

    def _candidate(self, call: CallModel | CallTool) -> str | None:
        names = self.candidates.get(call.route, ())
        return names[call.candidate] if call.candidate < len(names) else None


def step_of(record: Any) -> int | None:
    """Which step a record is about, if it is about one."""
    about = record.call if isinstance(record, AttemptFailed | CheckOutput) else record
    about = about.record if isinstance(about, Delay) else about
    step: int | None = getattr(about, "step", None)
    return step


def _is_judges(call: CallModel | CallTool) -> bool:
    return isinstance(call, CallModel) and call.judging is not None


def _kind(call: CallModel | CallTool) -> Literal["model", "tool"]:
    return "model" if isinstance(call, CallModel) else "tool"


def label_of(question: Question, value: Any) -> str:
    """What the person picked, in the words that they saw."""
    return next((option.label for option in question.options if option.value == value), preview(value))
