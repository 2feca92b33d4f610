"""An execution runs one task's workflow over its journal.

Each event resolves an await of the coroutine. The coroutine then runs until it blocks again, and the records
to publish are those that it asked for. The same events give the same records, so a lost coroutine is rebuilt
by a replay of its journal.

A step has a number, and its outcome repeats the fingerprint of the request. If the fingerprints differ, the
workflow's code has changed during the task: the task is `Parked`, and nothing more happens in it. A bug of
the workflow parks its task as well: see `segue.processors.workflow.parking`.

A task that waits for its turn is `Queued`: signals are kept for it, a cancellation ends it, and `Admitted`
begins it.
"""

import asyncio
import contextvars
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from typing import Any

from pydantic import ValidationError

from segue.processors.definitions.bugs import is_bug
from segue.processors.definitions.registry import Registry
from segue.processors.definitions.workflow import Arguments, Workflow
from segue.processors.durations import rounded_up_ms
from segue.processors.event_loop.sharing import SHARED, is_of_another_loop
from segue.processors.payloads.large import Objects, References
from segue.processors.workflow import outcomes, parking
from segue.processors.workflow.completion import Completion, ContinueAsNew, as_json, cancelled, completion_of
from segue.processors.workflow.context import CURRENT_CONTEXT, Entropy, ExecutionContext
from segue.processors.workflow.continue_as_new import abandoned, of_an_earlier_run, size_of, too_much_held
from segue.processors.workflow.phases import Ended, Parked, Phase, Queued, Running
from segue.processors.workflow.questions import answer, close_question, objection
from segue.processors.workflow.saga import to_its_end
from segue.processors.workflow.signal_delivery import deliver
from segue.processors.workflow.state.step import Step
from segue.processors.workflow.state.verdicts import Known
from segue.processors.workflow.task import CURRENT_TASK, Task
from segue.topics import codec
from segue.topics.descriptions import is_ctrl_c
from segue.topics.errors import BadInput, Stuck, UnknownName, in_words
from segue.topics.event_identity import identity_of
from segue.topics.flow import Publish
from segue.topics.records import (
    Admitted,
    Answered,
    CancelRequested,
    Delay,
    Event,
    Problem,
    PutAside,
    Rejected,
    SignalReceived,
    StepFailed,
    StepSucceeded,
    Submitted,
    TimerFired,
)
from segue.topics.runs import heard_as

UNKNOWN = -1
"""How many steps were asked for, where that is not known."""

DUE_MS_MAX = 2**62
"""A timer that is set for later, `sleep(inf)` say, is due then: in 146 million years."""


class WorkflowExecution:
    """One run of a task. Whoever applies events takes what the coroutine asked for with `take`.

    The constructor runs no code of the user's: `start` does. `waited`: the task had to wait for its turn.
    """

    def __init__(
        self,
        registry: Registry,
        submitted: Submitted,
        entropy: Entropy,
        *,
        queued: bool = False,
        replaying: bool = False,
        references: References | None = None,
    ) -> None:
        self.context = ExecutionContext(
            registry, submitted, entropy, replaying=replaying, references=references
        )
        self.phase: Phase = Queued() if queued else Running()
        self.waited = queued
        self.objects: Objects = ()
        """What its result refers to, or the input of the next run."""
        self.put_aside: Problem | None = None
        """Why a record was put aside that it may wait for, until something else happens."""
        self._stuck: Problem | None = None
        self._seen: set[str] = set()

    def start(self, known: Known | None = None) -> None:
        """Let `Submitted` happen: once. `known` are its verdicts, if it has happened before."""
        self.context.verdicts.begin(self.submitted.kind, known)
        self._guarded(self._start)

    def _start(self) -> None:
        self.context.advance(self.submitted.at_ms)
        for signal in self.submitted.run.buffered_signals if self.submitted.run else ():
            self._seen.add(identity_of(signal))
            deliver(self.context, signal)
        if isinstance(self.phase, Running):
            self._begin()

    @property
    def submitted(self) -> Submitted:
        return self.context.submitted

    @property
    def task_id(self) -> str:
        return self.context.task_id

    @property
    def parked(self) -> Problem | None:
        return self.phase.problem if isinstance(self.phase, Parked) else None

    @property
    def completion(self) -> Completion | None:
        return self.phase.completion if isinstance(self.phase, Ended) else None

    @property
    def at_bug(self) -> bool:
        """It is parked by its workflow's own mistake, and can be cancelled."""
        return isinstance(self.phase, Parked) and self.phase.missed is not None

    def take(self) -> list[Publish]:
        """What it asked for since. At a bug that is held back: mended code may ask for something else."""
        if self.at_bug:
            return []
        asked, self.context.commands = self.context.commands, []
        return asked

    def discard(self) -> None:
        """Let go of what was published when it was asked for."""
        self.context.commands = []

    def close(self) -> None:
        """Let the coroutine go. What it does while it unwinds has no effect.

        With it goes all that refers back to here, so that the task's memory is free at once: Python looks for
        garbage in cycles seldom, and a burst of tasks would be as large as all that began since.
        """
        self.context.closed = True
        self.context.loop.unwind()
        self.context.steps.forget()
        vars(self).pop("_task", None)

    # ------------------------------------------------------------ the coroutine

    def _begin(self) -> None:
        context = self.context
        try:
            self._workflow = context.registry.workflow(self.submitted.workflow, self.submitted.version)
            given = self._workflow.arguments(self._input(self._workflow))
        except UnknownName as error:
            self.phase = Parked(parking.by_absence(error))
            return
        except (ValidationError, BadInput) as error:
            problem = Problem(type="BadInput", message=codec.explain(error), retryable=False)
            self.phase = Ended(Completion("failed", problem=problem))
            return
        task = Task(context)
        variables = contextvars.Context()
        variables.run(CURRENT_CONTEXT.set, context)
        variables.run(CURRENT_TASK.set, task)
        coroutine = self._undone_if_it_fails(task, given)
        self._task = context.loop.create_task(coroutine, name=self.task_id, context=variables)
        self._run()

    def _input(self, workflow: Workflow[Any, Any]) -> Any:
        value = self.submitted.input
        if self.submitted.validated:
            return value
        return self.context.verdicts.of("input", workflow.validate, value)

    async def _undone_if_it_fails(self, task: Task, given: Arguments) -> Any:
        """The workflow as a saga: what a task is. Nothing is undone while it is parked at a bug.

        Its async generators are closed before that, those that still wait to be.
        """
        async with task.saga():
            try:
                returned = await self._returned(task, given)
                result = as_json(returned, self._workflow.output, self.context.large.held_bytes_max)
                await self._close_generators()
            except Exception as error:
                await self._wait_if_bug(error)
                await self._close_generators(error)
                raise
            except (asyncio.CancelledError, ContinueAsNew, BaseExceptionGroup) as error:
                await self._close_generators(error)
                raise
            return result

    async def _returned(self, task: Task, given: Arguments) -> Any:
        """A `GeneratorExit` of its own is an error like any other; one that lets the coroutine go is none."""
        context = self.context
        own = asyncio.current_task(context.loop)
        try:
            return await context.registry.observed(
                lambda: context.silent, self._workflow.function(task, *given.args, **given.kwargs)
            )
        except GeneratorExit as error:
            if context.closed or asyncio.current_task(context.loop) is not own:
                raise
            raise RuntimeError(f"the workflow raised {in_words(error)}") from error
        except Exception as error:
            if is_of_another_loop(error):
                raise BadInput(SHARED).with_traceback(error.__traceback__) from None
            raise

    async def _wait_if_bug(self, error: Exception) -> None:
        """The workflow did not catch it. At a bug, wait here until the task is cancelled."""
        if is_bug(error, self._workflow.bugs):
            self._park(error)
            with suppress(asyncio.CancelledError):
                await self.context.loop.create_future()

    async def _close_generators(self, after: BaseException | None = None) -> None:
        """What closing them raises is noted with the error that is on its way, where there is one."""
        generators = self.context.loop.generators
        if not generators.any_left:
            return
        try:
            await to_its_end(generators.close())
        except Exception as error:
            if after is None:
                raise
            after.add_note(f"while its async generators were closed: {in_words(error)}")

    def _run(self) -> None:
        """Run until the coroutine blocks; arm the timers that it still wants; see whether it ended."""
        quiet = self.context.loop.drain()
        for timer, closes in self.context.steps.timers():
            self._arm(timer, closes)
        if self.parked:
            return
        if self._task.done():
            self._end(completion_of(self._task))
        elif self.context.loop.woken_from_outside:
            self._park(BadInput(SHARED))
        elif not (quiet and self.context.steps.any_open):
            self._be_stuck(Stuck(parking.DEADLOCKED if quiet else parking.ENDLESS), quiet=quiet)

    def _end(self, completion: Completion) -> None:
        if self._stuck is not None and completion.outcome == "cancelled":
            completion = Completion("failed", problem=self._stuck)
        if completion.continue_as_new and (problem := too_much_held(self.context.signals.buffered)):
            completion = Completion("failed", problem=problem)
        self.phase = Ended(self._fitting(completion))
        self._close_questions()

    def _fitting(self, completion: Completion) -> Completion:
        """What is too large of it goes by reference."""
        large = self.context.large
        if (again := completion.continue_as_new) is not None:
            held_bytes = size_of(self.context.signals.buffered)
            again.given, self.objects = large.value(self.task_id, again.given, held_bytes)
            return completion
        result, self.objects = large.value(self.task_id, completion.result)
        return replace(completion, result=result)

    def _be_stuck(self, error: Stuck, *, quiet: bool) -> None:
        """Park, as at any bug; or else cancel the coroutine, so that it undoes what it did, and fail."""
        if self._stuck is not None:
            return self._end(Completion("failed", problem=self._stuck))
        self._stuck = Problem(type="Stuck", message=str(error), retryable=False)
        if quiet and is_bug(error, self._workflow.bugs):
            return self._park(error)
        self._task.cancel()
        return self._run()

    def _park(self, bug: Exception) -> None:
        self.phase = Parked(parking.by_bug(bug), [])

    def _close_questions(self) -> None:
        for step in list(self.context.questions.values()):
            close_question(self.context, step, "ended")

    def _arm(self, timer: asyncio.TimerHandle, closes: int | None) -> None:
        due_ms = min(rounded_up_ms(min(timer.when(), DUE_MS_MAX)), DUE_MS_MAX)
        step = self.context.steps.add("timer", "timer", due_ms, self.context.loop.create_future())
        step.timer = timer
        fired = TimerFired(
            task=self.task_id, step=step.number, fingerprint=step.fingerprint, closes=closes, at_ms=due_ms
        )
        delay = Delay(task=self.task_id, id=str(step.number), due_ms=due_ms, topic="events", record=fired)
        self.context.publish("delays", delay)

    # ------------------------------------------------------------ events

    def knows(self, event: Event) -> bool:
        """Whether the event adds nothing: it was applied before, or its step has been settled."""
        if self.submitted.run is not None and of_an_earlier_run(self.submitted.run, event):
            return True
        if isinstance(event, StepSucceeded | StepFailed) and (step := self.context.steps.at(event.step)):
            return (step.settled and step.fingerprint == event.fingerprint) or identity_of(
                event
            ) in self._seen
        if isinstance(event, Admitted) and not self.waited:
            return True
        if isinstance(self.phase, Queued) and isinstance(event, StepSucceeded | StepFailed | TimerFired):
            return True
        return identity_of(event) in self._seen

    def objection(self, event: Answered | SignalReceived, known: Known | None = None) -> str | None:
        """Why it can't be accepted, in words for the one who gave it; None if it can."""
        self.context.verdicts.begin(identity_of(event), known)
        if isinstance(event, SignalReceived):
            return self.context.signals.objection(event, self.context.accepted)
        return objection(self.context, event)

    def apply(self, event: Event, known: Known | None = None) -> None:
        """Let the event happen: once each, in the order of the journal. `Submitted` has happened already.

        `known` are its verdicts, where it has happened before.
        """
        self.context.verdicts.begin(identity_of(event), known)
        self._guarded(lambda: self._apply(event))

    def _guarded(self, happen: Callable[[], None]) -> None:
        """Whatever else is raised on the way, by user code or by ours, parks this task and stops no other."""
        try:
            happen()
        except BaseException as error:
            if is_ctrl_c(error):
                raise
            self.phase = Parked(parking.by_failure(error))
            self.context.commands.clear()

    def _apply(self, event: Event) -> None:
        self._seen.add(identity_of(event))
        if isinstance(event, Answered | SignalReceived | CancelRequested):
            self.context.heard[heard_as(event)] = None
        if isinstance(event, CancelRequested) and event.force:
            self._end_by_force(event)
            return
        if isinstance(self.phase, Ended):
            self.phase = Parked(parking.by_event(event, "the workflow now ends before it"))
        if isinstance(self.phase, Parked):
            self._happen_while_parked(self.phase, event)
            return
        if isinstance(event, PutAside):
            self.put_aside = event.problem
            return
        self.put_aside = None
        self.context.advance(event.at_ms)
        if isinstance(self.phase, Queued):
            self._happen_before_it_begins(event)
        else:
            self._happen(event)

    def _happen(self, event: Event) -> None:
        match event:
            case StepSucceeded() | StepFailed() | TimerFired():
                self._resolve(event)
            case Answered():
                answer(self.context, event)
            case SignalReceived():
                deliver(self.context, event)
            case CancelRequested():
                self._task.cancel(event.reason)
            case Submitted() | Rejected() | Admitted() | PutAside():
                return
        self._run()

    def _happen_before_it_begins(self, event: Event) -> None:
        match event:
            case Admitted():
                self.phase = Running()
                self._begin()
            case SignalReceived():
                deliver(self.context, event)
            case CancelRequested():
                self.phase = Ended(cancelled(event.reason))
            case _:
                pass

    def _happen_while_parked(self, parked: Parked, event: Event) -> None:
        """Nothing, but a task at a bug can be cancelled. It is told first what it missed meanwhile."""
        self.context.signals.holds += isinstance(event, SignalReceived)
        if parked.missed is None:
            return
        parked.missed.append(event)
        if isinstance(event, CancelRequested):
            self.phase = Running()
            for each in parked.missed:
                self._apply(each)

    def _end_by_force(self, event: CancelRequested) -> None:
        """Its code is not asked, which may be gone. What it asked for while it was parked never begins."""
        self.context.advance(event.at_ms)
        self.phase = Ended(
            cancelled(f"{event.reason}: cancelled by force, so nothing was cleaned up or undone")
        )
        held_back = {each.key for each in self.context.commands}
        self.context.commands = [off for off in abandoned(self.context) if off.key not in held_back]
        self._close_questions()

    def _resolve(self, event: StepSucceeded | StepFailed | TimerFired) -> None:
        step = self.context.steps.at(event.step)
        if step is None:
            self.phase = Parked(parking.by_event(event, "the workflow now waits for something else"))
        elif step.fingerprint != event.fingerprint:
            now = f"the workflow now asks there for {_description_of(step)}, or with other arguments"
            self.phase = Parked(parking.by_event(event, now))
        elif not isinstance(event, TimerFired):
            outcomes.settle(self.context, step, event)
        else:
            if step.timer is not None:
                self.context.loop.fire(step.timer)
            self.context.steps.settle(step)

    def expect(self, steps: int) -> None:
        """Park if the coroutine has not asked for that many steps: nobody would answer what it added.

        A bug that is met where other code went on can't be what the task fails by: only mended code fits.
        """
        if steps in (UNKNOWN, len(self.context.steps)):
            return
        how = (
            f"the workflow had asked for {steps} steps at this point, but now it asks for "
            f"{len(self.context.steps)}"
        )
        self.phase = Parked(self.parked or parking.by_change(how))


def _description_of(step: Step) -> str:
    return "a timer" if step.kind == "timer" else f"{step.kind} {step.name!r}"
