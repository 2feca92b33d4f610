"""The steps of a task as people see them: the fold of calls, outcomes, questions and timers into `Step`s.

The part of a `Timeline` that is about steps; what holds for that holds for this.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from segue.processors.formatting import duration, preview
from segue.processors.payloads.options import option_with
from segue.processors.routing.budget import consumed
from segue.processors.views.timeline_events import (
    DEADLINE,
    Attempt,
    Kind,
    Step,
    StepAnswer,
    TimelineEvent,
    What,
)
from segue.topics.parts import Choice
from segue.topics.records import (
    Answered,
    AttemptFailed,
    CallModel,
    CallTool,
    CheckOutput,
    Delay,
    Given,
    Question,
    QuestionClosed,
    StepFailed,
    StepSucceeded,
    TimerFired,
)

SETTLED = ("succeeded", "failed")
"""A step has one outcome, the first in the log."""

ENDED = (*SETTLED, "ended")
"""Outcomes of questions that take no answer any more."""


@dataclass(slots=True)
class StepsView:
    """`candidates` names the candidates of each route, where whoever looks has the app."""

    task: str
    candidates: Mapping[str, Sequence[str]]
    steps: dict[int, Step] = field(default_factory=dict[int, Step])
    now_ms: int = 0

    @property
    def in_order(self) -> list[Step]:
        return [self.steps[number] for number in sorted(self.steps)]

    @property
    def open_questions(self) -> list[Question]:
        return [s.question for s in self.in_order if s.question and s.outcome == "waiting"]

    def begin(self, first_step: int) -> None:
        """A run begins: the steps of those before it are no longer shown."""
        self.steps = {number: step for number, step in self.steps.items() if number >= first_step}

    def fold(self, record: Any, now_ms: int) -> TimelineEvent | None:
        """`now_ms` is the latest time that a record bears. None for a record about no step."""
        self.now_ms = now_ms
        match record:
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
                return self._question_asked(record)
            case QuestionClosed():
                return self._closed(record)
            case Answered():
                self._answered(record)
                return None
            case _:
                return None

    # ------------------------------------------------------------ calls and their attempts

    def _called(self, call: CallModel | CallTool) -> TimelineEvent | None:
        """The next attempt of a step says what was decided about the one before it."""
        if _is_judges(call):
            return None  # what it judges is being checked
        step, attempt = self._attempt_of(call)
        if call.choice is not None and step.choice is None:
            return self._chosen(call, call.choice)
        if attempt.started_ms is not None:
            return None
        attempt.started_ms, attempt.candidate = call.at_ms, call.candidate_index
        attempt.by = attempt.by or self._candidate(call)
        before = step.attempts.get(call.attempt - 1)
        if before is None or before.then is not None:
            return None
        if call.candidate_index != before.candidate:
            before.then = "reroute"
            by = attempt.by or f"candidate {call.candidate_index + 1}"
            return TimelineEvent(
                call.at_ms, "reroute", call.route, call.step, by, call.attempt, "again", text=f"to {by}"
            )
        before.then = "ask again"
        text = "asked again, with the critique"
        return TimelineEvent(
            call.at_ms, "again", call.route, call.step, attempt.by or "", call.attempt, "again", text=text
        )

    def _chosen(self, call: CallModel | CallTool, choice: Choice) -> TimelineEvent | None:
        """Told before the first attempt, which was asked for before anybody was chosen."""
        step, attempt = self._attempt_of(call)
        step.choice = choice
        if not choice.order:
            return None  # its failure says so
        attempt.started_ms, attempt.candidate = call.at_ms, call.candidate_index
        if attempt.outcome == "running":  # what it was before is the route's first, who may not be chosen
            attempt.by = self._candidate(call)
        by = attempt.by or f"candidate {call.candidate_index + 1}"
        text = f"{choice.by}: {choice.reason}"
        return TimelineEvent(call.at_ms, "choice", call.route, call.step, by, call.attempt, text=text)

    def _checking(self, output: CheckOutput) -> TimelineEvent | None:
        """What a judge does not accept is told by the failure that comes of it."""
        step, attempt = self._attempt_of(output.call)
        attempt.by, attempt.duration_ms, attempt.usage = output.candidate, output.duration_ms, output.usage
        if attempt.outcome == "running":
            attempt.outcome = "checking"
        if output.verdict is None or not output.verdict.accepted:
            return None
        by, number = output.verdict.candidate, output.call.attempt
        text = "accepts the output"
        return TimelineEvent(output.at_ms, "check", step.name, step.number, by, number, "ok", text=text)

    def _failed(self, failure: AttemptFailed) -> TimelineEvent | None:
        call = failure.call
        if _is_judges(call):
            text = f"judge {call.route}: {failure.problem.message}"
            return TimelineEvent(
                failure.at_ms, "check", call.route, call.step, failure.candidate, mark="failed", text=text
            )
        step, attempt = self._attempt_of(call)
        attempt.usage = failure.usage or attempt.usage
        if call.choice is not None:
            step.choice = call.choice
        if attempt.outcome in ("failed", "refused"):
            return None
        if attempt.outcome == "succeeded" and not failure.critique:
            return None  # the call was made twice, and had been answered
        if attempt.outcome == "succeeded":  # the output was not of the type that the workflow asked for
            step.outcome, step.result, step.ended_ms = "running", None, None
        attempt.by, attempt.candidate, attempt.duration_ms = (
            failure.candidate,
            call.candidate_index,
            failure.duration_ms,
        )
        attempt.outcome = "refused" if failure.critique else "failed"
        attempt.reason, attempt.traceback = failure.problem.message, failure.problem.traceback
        attempt.refused = failure.critique.output if failure.critique else None
        what: What = "check" if failure.critique and call.checks else _kind(call)
        text = f"refused: {attempt.reason}" if failure.critique else attempt.reason
        return TimelineEvent(
            failure.at_ms,
            what,
            step.name,
            step.number,
            failure.candidate,
            call.attempt,
            "failed",
            failure.duration_ms,
            text,
        )

    def _retry_later(self, call: CallModel | CallTool, delay: Delay) -> TimelineEvent | None:
        if _is_judges(call):
            return None
        step = self._step(call.step, _kind(call), call.route)
        before = step.attempt(call.attempt - 1)
        if before.then is not None:
            return None
        before.then, before.wait_ms = "retry", max(0, delay.due_ms - self.now_ms)
        text = f"in {duration(before.wait_ms)}"
        by = before.by or ""
        return TimelineEvent(
            self.now_ms, "retry", step.name, step.number, by, call.attempt, "again", text=text
        )

    def _succeeded(self, event: StepSucceeded) -> TimelineEvent | None:
        step = self._outcome_of(event)
        tried = step.attempts.get(event.attempt)
        if step.outcome in SETTLED or (tried and tried.outcome in ("failed", "refused")):
            return None
        step.outcome, step.result, step.ended_ms = "succeeded", event.result, event.at_ms
        if step.kind == "tool" and step.started_ms is None:
            step.started_ms = event.at_ms - round(event.duration_ms)
        step.spent, step.choice = consumed(event), event.choice or step.choice
        if step.kind in ("model", "tool"):
            attempt = step.attempt(event.attempt)
            attempt.by, attempt.duration_ms, attempt.usage = event.candidate, event.duration_ms, event.usage
            attempt.outcome = "succeeded"
        duration_ms, attempt_number = (
            (None, None) if step.kind == "child" else (event.duration_ms, event.attempt)
        )
        text = preview(event.result)
        return TimelineEvent(
            event.at_ms,
            step.what,
            step.name,
            step.number,
            event.candidate or "",
            attempt_number,
            "ok",
            duration_ms,
            text,
        )

    def _gave_up(self, event: StepFailed) -> TimelineEvent | None:
        step = self._outcome_of(event)
        if step.outcome in SETTLED:
            return None
        step.outcome, step.problem, step.ended_ms = "failed", event.problem, event.at_ms
        step.spent = consumed(event)
        if event.attempt in step.attempts:
            step.attempts[event.attempt].then = "give up"
        text = f"gave up: {event.problem.message}"
        return TimelineEvent(
            event.at_ms,
            step.what,
            step.name,
            step.number,
            event.candidate or "",
            event.attempt,
            "failed",
            text=text,
        )

    # ------------------------------------------------------------ people and time

    def _question_asked(self, question: Question) -> TimelineEvent | None:
        step = self._step(question.step, "ask", question.to)
        if step.question is not None:
            return None
        step.question, step.outcome, step.started_ms = question, "waiting", question.at_ms
        return TimelineEvent(
            question.at_ms,
            "ask",
            question.to,
            question.step,
            mark="waiting",
            text=question.text,
            options=question.options,
        )

    def _answered(self, event: Answered) -> None:
        """It is told once it is decided: by the question's closing, or by a dead letter."""
        if (step := self._step_answered_by(event)) is not None:
            self._keep(step, event)

    def refused(self, event: Answered, reason: str) -> TimelineEvent:
        """Its task did not accept the answer: another came before it, say."""
        step = self._step_answered_by(event)
        asked = step.question if step is not None else None
        if step is not None:
            answer = self._keep(step, event)
            answer.counts, answer.reason = False, reason
        said = label_of(asked, event.value) if asked is not None else preview(event.value)
        name, number = (step.name, step.number) if step is not None else ("", event.step)
        text = f"{said}: {reason}"
        return TimelineEvent(event.at_ms, "answer", name, number, event.by or "", mark="failed", text=text)

    def _step_answered_by(self, event: Answered) -> Step | None:
        """The step that the answer is for: it may name none where the task asks one question."""
        if event.step is not None:
            return self.steps.get(event.step)
        known = [step for step in self.steps.values() if event.id in step.answers]
        asked = [step for step in self.steps.values() if step.question is not None]
        waiting = [step for step in asked if step.outcome == "waiting"]
        for found in (known, waiting, asked):
            if len(found) == 1:
                return found[0]
        return None

    def _keep(self, step: Step, event: Answered) -> StepAnswer:
        answer = StepAnswer(event.id, event.value, event.by, event.at_ms)
        if step.outcome in ENDED:
            answer.counts = False
        return step.answers.setdefault(event.id, answer)

    def _closed(self, event: QuestionClosed) -> TimelineEvent | None:
        step = self._step(event.step, "ask", "")
        if step.outcome not in ("running", "waiting"):
            return None
        step.outcome = "succeeded" if event.reason == "answered" else "ended"
        step.ended_ms = event.at_ms
        for answer in step.answers.values():
            answer.counts = False
        if event.answer is not None:
            return self._counts(step, event.answer, event.at_ms)
        if event.reason != "expired":
            return None
        return TimelineEvent(
            event.at_ms, "ask", step.name, step.number, mark="failed", text="nobody answered in time"
        )

    def _counts(self, step: Step, given: Given, at_ms: int) -> TimelineEvent:
        step.result, step.answered_by = given.value, given.by
        answer = step.answers.setdefault(given.id, StepAnswer(given.id, given.value, given.by, at_ms))
        answer.counts = True
        text = label_of(step.question, given.value) if step.question else preview(given.value)
        return TimelineEvent(at_ms, "answer", step.name, step.number, given.by or "", mark="ok", text=text)

    def _armed(self, timer: TimerFired, delay: Delay) -> TimelineEvent | None:
        """A question's own deadline is told with the question."""
        step = self._step(timer.step, "timer", "")
        if step.due_ms is not None or step.outcome != "running":
            return None
        step.due_ms, step.started_ms = delay.due_ms, self.now_ms
        if timer.closes is not None:
            step.name = DEADLINE
            return None
        text = f"set for {duration(max(0, delay.due_ms - self.now_ms))}"
        return TimelineEvent(self.now_ms, "timer", step=step.number, mark="waiting", text=text)

    def _fired(self, event: TimerFired) -> TimelineEvent | None:
        step = self._step(event.step, "timer", "")
        if step.outcome in ("succeeded", "ended") or step.kind != "timer":
            return None
        step.outcome, step.ended_ms = "succeeded", event.at_ms
        if event.closes is not None:
            step.name = DEADLINE
            return None
        return TimelineEvent(self.now_ms, "timer", step=step.number, mark="ok", text="is due")

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
        step.asked = _input_of(call)
        if isinstance(call, CallTool):
            step.undoes = call.undoes
        return step, step.attempt(call.attempt)

    def _outcome_of(self, event: StepSucceeded | StepFailed) -> Step:
        """The step; one without a call or question before it was a local tool's, or is a child task.

        A child is named after its parent, which needs no second telling.
        """
        if event.route is not None and event.step not in self.steps:
            return self._step(event.step, "tool", event.route)
        return self._step(event.step, "child", (event.candidate or "").replace(self.task, "…", 1))

    def _candidate(self, call: CallModel | CallTool) -> str | None:
        names = self.candidates.get(call.route, ())
        return names[call.candidate_index] if call.candidate_index < len(names) else None


def _is_judges(call: CallModel | CallTool) -> bool:
    return isinstance(call, CallModel) and call.judging is not None


def _kind(call: CallModel | CallTool) -> Literal["model", "tool"]:
    return "model" if isinstance(call, CallModel) else "tool"


def _input_of(call: CallModel | CallTool) -> Any:
    if isinstance(call, CallTool):
        return call.arguments
    return call.agent.body if call.agent else call.prompt


def label_of(question: Question, value: Any) -> str:
    """What the person picked, in the words that they saw."""
    option = option_with(value, question.options)
    return option.label if option else preview(value)
