"""One task's coroutine, played over the task's log.

A workflow is the score, a `Performance` plays it: each event resolves what the coroutine waits for, the
coroutine runs until it blocks again, and what it asked for by then are the records to publish. The same
events give the same records, so a coroutine that was lost is rebuilt by playing its journal again.

A step is known by its number; its outcome echoes the fingerprint of what was asked. Where the two differ the
workflow's code has changed under its task: the performance is `parked` there, and does no harm. So it is at a
bug of the workflow: see `segue.processors.workflow.parking`.

A task that waits for its turn has a performance that has not begun: signals are kept for it, a cancellation
ends it, and `Admitted` begins it.
"""

import asyncio
import contextvars
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from datetime import datetime, timedelta
from functools import cached_property
from typing import TYPE_CHECKING, Any
from weakref import ref

from pydantic import ValidationError

from segue.processors.durations import EPOCH, rounded_up_ms
from segue.processors.event_loop.loop import WorkflowLoop
from segue.processors.payloads.blob import taken
from segue.processors.payloads.large import Command, Large, Objects, References
from segue.processors.routing.budget import BUDGET_SIGNAL, Purse, set_by_signal
from segue.processors.workflow import outcomes, parking
from segue.processors.workflow.completion import Ending, cancelled, ending_of
from segue.processors.workflow.continue_as_new import (
    abandoned,
    heard_as,
    of_an_earlier_run,
    size_of,
    too_much_held,
)
from segue.processors.workflow.questions import answer, close_question, objection
from segue.processors.workflow.saga import undone_if_it_fails
from segue.processors.workflow.state.signals import Signals, fitted, refused
from segue.processors.workflow.state.step import Kind, Step
from segue.processors.workflow.state.steps import Steps
from segue.processors.workflow.state.verdicts import Known, Verdicts
from segue.processors.workflow.task import Task
from segue.topics import codec
from segue.topics.descriptions import is_ctrl_c
from segue.topics.errors import BadInput, Stuck, Suspended, TooLarge, UnknownName
from segue.topics.event_identity import identity_of
from segue.topics.flow import Publish
from segue.topics.records import (
    Admitted,
    Answered,
    CancelRequested,
    Delay,
    Event,
    NotUndone,
    Problem,
    PutAside,
    Record,
    Rejected,
    SignalReceived,
    StepFailed,
    StepSucceeded,
    Submitted,
    TimerFired,
)

if TYPE_CHECKING:
    from random import Random

    from segue.processors.app.app import App, Workflow

UNKNOWN = -1
"""How many steps were asked for, where that is not known."""

Entropy = Callable[[str], "Random"]
"""Makes a source of randomness from a seed. The shell gives it, since processors draw none themselves."""


PLAYING: contextvars.ContextVar["Performance"] = contextvars.ContextVar("segue_performance")
"""Set in a workflow's coroutine and in all that it starts: how an agent knows the task that it runs in."""

DUE_MS_MAX = 2**62
"""A timer that is set for later, `sleep(inf)` say, is due then: in 146 million years."""

NOW_MS_MAX = 253_402_300_799_999
"""The end of the year 9999: what `datetime` can hold. A record may say anything."""


class Performance:
    """A task in play. Whoever applies events takes what the coroutine asked for with `take`.

    `queued`: the task waits for its turn; `waited`: it did. `replaying`: what happens has happened before.
    `known` is what the journal says of validation: see `segue.processors.workflow.state.verdicts`. By `references` what is too
    large for records goes to the object store; without them it is refused.
    """

    def __init__(
        self,
        app: "App",
        submitted: Submitted,
        entropy: Entropy,
        *,
        queued: bool = False,
        replaying: bool = False,
        known: Known | None = None,
        references: References | None = None,
    ) -> None:
        self.app = app
        self.large = Large(references, submitted.tenant)
        self.submitted = submitted
        self.entropy = entropy
        self.replaying = replaying
        self.now_ms = 0
        self.steps = Steps(submitted, self.large.held_bytes_max)
        self.questions: dict[int, Step] = {}
        self.ending: Ending | None = None
        self.objects: Objects = ()
        """What its result refers to, or the input of the next run."""
        self.parked: Problem | None = None
        self.put_aside: Problem | None = None
        """Why a record was put aside that it may wait for, until something else happens."""
        self._missed: list[Event] | None = None
        self._stuck: Problem | None = None
        self.purse = Purse(submitted.budget)
        self.queued = self.waited = queued
        self.signals = Signals()
        self.verdicts = Verdicts()
        self.verdicts.begin(submitted.kind, known)
        self.not_undone: list[NotUndone] = []
        self.view: Any = None
        run = submitted.run
        self.heard = dict.fromkeys(run.heard if run else ())
        self._asked: list[Publish] = []
        self.closed = False
        self._suspended = False
        self._seen: set[str] = set()
        self._loop = WorkflowLoop(self.steps.expect_timer, submitted.task)  # type: ignore[abstract]
        self._advance(self.submitted.at_ms)
        for signal in run.held if run else ():
            self._seen.add(identity_of(signal))
            self._signal(signal)
        if not queued:
            self._guarded(self._begin)

    def _begin(self) -> None:
        try:
            self._workflow = self.app.workflow(self.submitted.workflow, self.submitted.version)
            given = self._workflow.arguments(self._input(self._workflow))
        except UnknownName as error:
            self.parked = parking.by_absence(error)
            return
        except (ValidationError, BadInput) as error:
            problem = Problem(type="BadInput", message=codec.explain(error), retryable=False)
            self.ending = Ending("failed", problem=problem)
            return
        task = Task(self)
        self._seen_by_workflow = ref(task)
        coroutine = undone_if_it_fails(self, task, self._workflow, given, self._raised, self._loop.generators)
        context = contextvars.Context()
        context.run(PLAYING.set, self)
        self._task = self._loop.create_task(coroutine, name=self.task_id, context=context)
        self._run()

    def _input(self, workflow: "Workflow[Any, Any]") -> Any:
        value = self.submitted.input
        return value if self.submitted.validated else self.verdicts.of("input", workflow.validate, value)

    def accepted(self, step: Step, value: Any, event: StepSucceeded | Answered | SignalReceived) -> Any:
        """What the step makes of a value that came with the event. Raises `ValidationError` or `BadInput`."""
        if step.accept is None:
            return taken(value)
        if step.accept.judge is not None:
            value = self.verdicts.of(f"{step.number} {identity_of(event)}", step.accept.judge, value)
        return step.accept.read(value)

    @property
    def task(self) -> Task:
        """What the workflow sees. It is there while the coroutine is, which holds it."""
        task = self._seen_by_workflow()
        assert task is not None
        return task

    def now(self) -> datetime:
        """The time of the last thing that happened to the task."""
        return EPOCH + timedelta(milliseconds=self.now_ms)

    def random_for(self, purpose: str = "") -> "Random":
        """A source of randomness, the same whenever the task is played again; one for each purpose."""
        run = self.submitted.run
        return self.entropy(" ".join(filter(None, (self.task_id, str(run.number) if run else "", purpose))))

    @cached_property
    def library_random(self) -> "Random":
        """The libraries' own: what they draw must not change what the workflow draws."""
        return self.random_for("libraries")

    @property
    def silent(self) -> bool:
        """Whether what the workflow reports is to be left out: it is played again, or unwound."""
        return self.replaying or self.closed

    @property
    def task_id(self) -> str:
        return self.submitted.task

    @property
    def at_bug(self) -> bool:
        """It is parked by its workflow's own mistake, and can be cancelled."""
        return self._missed is not None

    def take(self) -> list[Publish]:
        """What it asked for since. At a bug that is held back: mended code may ask for something else."""
        if self.at_bug:
            return []
        asked, self._asked = self._asked, []
        return asked

    def discard(self) -> None:
        """Let go of what was published when it was asked for."""
        self._asked = []

    def close(self) -> None:
        """Let the coroutine go. What it does while it unwinds has no effect.

        With it goes all that refers back to here, so that the task's memory is free at once: Python looks for
        garbage in cycles seldom, and a burst of tasks would be as large as all that began since.
        """
        self.closed = True
        self._loop.unwind()
        self.steps.forget()
        vars(self).pop("_task", None)

    # ------------------------------------------------------------ events in

    def knows(self, event: Event) -> bool:
        """Whether the event adds nothing: it was applied before, or its step has been settled."""
        if self.submitted.run is not None and of_an_earlier_run(self.submitted.run, event):
            return True
        if isinstance(event, StepSucceeded | StepFailed) and (step := self.steps.at(event.step)):
            return (step.settled and step.print == event.print) or identity_of(event) in self._seen
        if isinstance(event, Admitted):
            return not self.queued
        if self.queued and isinstance(event, StepSucceeded | StepFailed | TimerFired):
            return True
        return identity_of(event) in self._seen

    def apply(self, event: Event, known: Known | None = None) -> None:
        """Let the event happen: once each, in the order of the journal. `Submitted` has happened already.

        `known` are its verdicts, where it has happened before.
        """
        self.verdicts.begin(identity_of(event), known)
        self._guarded(lambda: self._apply(event))

    def _guarded(self, happen: Callable[[], None]) -> None:
        """Whatever else is raised on the way, by user code or by ours, parks this task and stops no other."""
        try:
            happen()
        except BaseException as error:
            if is_ctrl_c(error):
                raise
            self.parked, self._missed = parking.by_failure(error), None
            self._asked.clear()

    def _apply(self, event: Event) -> None:
        self._seen.add(identity_of(event))
        if isinstance(event, Answered | SignalReceived | CancelRequested):
            self.heard[heard_as(event)] = None
        if isinstance(event, CancelRequested) and event.force:
            self._end_by_force(event)
            return
        if self.ending:
            self.parked = parking.by_event(event, "the workflow now ends before it")
        if self.parked:
            self._happen_while_parked(event)
            return
        if isinstance(event, PutAside):
            self.put_aside = event.problem
            return
        self.put_aside = None
        self._advance(event.at_ms)
        if self.queued:
            self._happen_before_it_begins(event)
            return
        match event:
            case StepSucceeded() | StepFailed() | TimerFired():
                self._resolve(event)
            case Answered():
                answer(self, event)
            case SignalReceived():
                self._signal(event)
            case CancelRequested():
                self._task.cancel(event.reason)
            case Submitted() | Rejected() | Admitted():
                return
        self._run()

    def _happen_while_parked(self, event: Event) -> None:
        """Nothing, but a task at a bug can be cancelled. It is told first what it missed meanwhile."""
        self.signals.holds += isinstance(event, SignalReceived)
        if self._missed is None:
            return
        self._missed.append(event)
        if isinstance(event, CancelRequested):
            missed, self._missed, self.parked = self._missed, None, None
            for each in missed:
                self._apply(each)

    def _end_by_force(self, event: CancelRequested) -> None:
        """Its code is not asked, which may be gone. What it asked for while it was parked never begins."""
        self._advance(event.at_ms)
        self.queued, self.parked, self._missed = False, None, None
        self.ending = cancelled(f"{event.reason}: by force, so nothing was cleaned up or undone")
        held_back = {each.key for each in self._asked}
        self._asked = [off for off in abandoned(self) if off.key not in held_back]
        self._close_questions()

    async def _raised(self, error: Exception) -> None:
        """Its workflow did not catch it. At a bug, wait here until the task is cancelled."""
        if parking.is_bug(error, self._workflow.bugs):
            self._park(error)
            with suppress(asyncio.CancelledError):
                await self._loop.create_future()

    def _happen_before_it_begins(self, event: Event) -> None:
        match event:
            case Admitted():
                self.queued = False
                self._begin()
            case SignalReceived():
                self._signal(event)
            case CancelRequested():
                self.queued, self.ending = False, cancelled(event.reason)
            case _:
                pass

    def _advance(self, at_ms: int) -> None:
        self.now_ms = min(max(self.now_ms, at_ms), NOW_MS_MAX)
        self._loop.now_s = max(self._loop.now_s, self.now_ms / 1000)

    def _resolve(self, event: StepSucceeded | StepFailed | TimerFired) -> None:
        step = self.steps.at(event.step)
        if step is None:
            self.parked = parking.by_event(event, "the workflow now waits for something else")
        elif step.print != event.print:
            now = f"the workflow now asks there for {_asked(step)}, or with other arguments"
            self.parked = parking.by_event(event, now)
        elif not isinstance(event, TimerFired):
            outcomes.settle(self, step, event)
        else:
            if step.timer is not None:
                self._loop.fire(step.timer)
            self.steps.settle(step)

    def expect(self, steps: int) -> None:
        """Park if the coroutine has not asked for that many steps: nobody would answer what it added.

        A bug that is met where other code went on can't be what the task fails by: only mended code fits.
        """
        if steps in (UNKNOWN, len(self.steps)):
            return
        self._missed = None
        if self.parked is None:
            how = f"{steps} steps were asked for by then, but now it asks for {len(self.steps)}"
            self.parked = parking.by_change(how)

    # ------------------------------------------------------------ people and signals

    def objection(self, event: Answered | SignalReceived, known: Known | None = None) -> str | None:
        """Why it can't be accepted, in words for the one who gave it; None if it can."""
        self.verdicts.begin(identity_of(event), known)
        if isinstance(event, SignalReceived):
            return self.signals.objection(event, self.accepted)
        return objection(self, event)

    def _signal(self, event: SignalReceived) -> None:
        if event.name == BUDGET_SIGNAL:
            return set_by_signal(self, event.value)
        step = self.signals.awaiting(event.name)
        if step is None:
            return self.signals.keep(event)
        self._hear(step, event)
        return None

    def expect_signal(self, step: Step) -> None:
        """Give the step the earliest signal of its name that fits and nobody took, or the next to come."""
        while (kept := self.signals.take(step.name)) is not None:
            if self._hear(step, kept):
                return
        self.signals.wait(step)

    def _hear(self, step: Step, signal: SignalReceived) -> bool:
        """Whether the step took the signal; one that does not fit is a dead letter."""
        try:
            value = fitted(self.accepted, step, signal)
        except BadInput as misfit:
            letter = refused(signal, str(misfit), self.now_ms)
            self._asked += [] if self.closed else [letter]
            return False
        self.steps.settle(step, value)
        return True

    # ------------------------------------------------------------ steps out

    def step(self, kind: Kind, name: str, asked: Any) -> Step:
        """The next step, by the order of asking. `asked` is the JSON value that its fingerprint is of.

        A coroutine that is closed is told so once; if it goes on to ask, it waits for ever. Raises
        `StepError` for one too many, by the limits that the task was submitted with, so that it always does.
        """
        if self.closed and not self._suspended:
            self._suspended = True
            raise Suspended
        return self.steps.ask(kind, name, asked, self._loop.create_future())

    def publish(self, topic: str, record: Record, key: str | None = None, objects: Objects = ()) -> None:
        if not self.closed:
            self._asked.append(Publish(topic, key or self.task_id, record, objects=objects))

    def command(self, topic: str, step: Step, record: Command, key: str | None = None) -> Command:
        """Publish what the step asks for, and return it as it is published. Raises `TooLarge`."""
        try:
            fitting, objects = self.large.command(record, step.size_bytes)
        except TooLarge:
            self.steps.settle(step)
            raise
        self.publish(topic, fitting, key, objects)
        return fitting

    def _run(self) -> None:
        """Run until the coroutine blocks; arm the timers that it still wants; see whether it ended."""
        quiet = self._loop.drain()
        for timer in self.steps.timers():
            self._arm(timer)
        if self._task.done():
            self._end(ending_of(self._task))
        elif self._loop.woken_from_outside and not self.parked:
            self._park(BadInput(parking.SHARED))
        elif not (self.parked or (quiet and self.steps.any_open)):
            self._be_stuck(Stuck(parking.DEADLOCKED if quiet else parking.ENDLESS), quiet=quiet)

    def _end(self, ending: Ending) -> None:
        if self._stuck is not None and ending.outcome == "cancelled":
            ending = Ending("failed", problem=self._stuck)
        if ending.again and (problem := too_much_held(self.signals.kept)):
            ending = Ending("failed", problem=problem)
        self.ending = self._fitting(ending)
        self._close_questions()

    def _fitting(self, ending: Ending) -> Ending:
        """What is too large of it goes by reference."""
        if (again := ending.again) is not None:
            held_bytes = size_of(self.signals.kept)
            again.given, self.objects = self.large.value(self.task_id, again.given, held_bytes)
            return ending
        result, self.objects = self.large.value(self.task_id, ending.result)
        return replace(ending, result=result)

    def _be_stuck(self, error: Stuck, *, quiet: bool) -> None:
        """Park, as at any bug; or else cancel the coroutine, so that it undoes what it did, and fail."""
        if self._stuck is not None:
            return self._end(Ending("failed", problem=self._stuck))
        self._stuck = Problem(type="Stuck", message=str(error), retryable=False)
        if quiet and parking.is_bug(error, self._workflow.bugs):
            return self._park(error)
        self._task.cancel()
        return self._run()

    def _park(self, bug: Exception) -> None:
        self.parked, self._missed = parking.by_bug(bug), []

    def _close_questions(self) -> None:
        for step in list(self.questions.values()):
            close_question(self, step, "ended")

    def _arm(self, timer: asyncio.TimerHandle) -> None:
        due_ms = min(rounded_up_ms(min(timer.when(), DUE_MS_MAX)), DUE_MS_MAX)
        step = self.steps.add("timer", "timer", due_ms, self._loop.create_future())
        step.timer = timer
        fired = TimerFired(task=self.task_id, step=step.number, print=step.print, at_ms=due_ms)
        delay = Delay(task=self.task_id, id=str(step.number), due_ms=due_ms, topic="events", record=fired)
        self.publish("delays", delay)


def _asked(step: Step) -> str:
    return "a timer" if step.kind == "timer" else f"{step.kind} {step.name!r}"
