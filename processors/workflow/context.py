"""The state of one run of a task, without the life cycle: what the parts of a workflow share.

An execution owns one. `questions`, `signal_delivery`, `outcomes`, `saga`, `budget_guard`, `children` and the
user's `Task` take it and change it. None of them imports the execution.
"""

from collections.abc import Callable
from contextvars import ContextVar
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cached_property
from typing import TYPE_CHECKING, Any

from segue.processors.definitions.registry import Registry
from segue.processors.durations import EPOCH
from segue.processors.event_loop.loop import WorkflowLoop
from segue.processors.payloads.blob import taken
from segue.processors.payloads.large import Command, Large, Objects, References
from segue.processors.routing.budget import BudgetAccount
from segue.processors.workflow.state.signals import Signals
from segue.processors.workflow.state.step import Kind, Step
from segue.processors.workflow.state.steps import Steps
from segue.processors.workflow.state.verdicts import Verdicts
from segue.topics.errors import Suspended, TooLarge
from segue.topics.event_identity import identity_of
from segue.topics.flow import Publish
from segue.topics.records import Answered, NotUndone, Record, SignalReceived, StepSucceeded, Submitted

if TYPE_CHECKING:
    from random import Random

Entropy = Callable[[str], "Random"]
"""Makes a source of randomness from a seed. The shell gives it, since processors draw none themselves."""

NOW_MS_MAX = 253_402_300_799_999
"""The end of the year 9999: what `datetime` can hold. A record may say anything."""


@dataclass(slots=True)
class BudgetQuestion:
    """A question for more that is open. Whoever needs more meanwhile waits for its answer too."""

    step: Step
    in_usd: bool
    waiting: int = 0


class ExecutionContext:
    """What a run has asked for, has got, and may use.

    `commands` are what it asked for that nobody took yet. `replaying`: what happens has happened before.
    `closed`: its coroutine is being unwound, and what that does has no effect. By `references` what is too
    large for records goes to the object store; without them it is refused.
    """

    def __init__(
        self,
        registry: Registry,
        submitted: Submitted,
        entropy: Entropy,
        *,
        replaying: bool = False,
        references: References | None = None,
    ) -> None:
        self.registry = registry
        self.submitted = submitted
        self.large = Large(references, submitted.tenant)
        self.entropy = entropy
        self.replaying = replaying
        self.closed = False
        self.now_ms = 0
        self.steps = Steps(submitted, self.large.held_bytes_max)
        self.loop = WorkflowLoop(self.steps.expect_timer, submitted.task)  # type: ignore[abstract]
        self.questions: dict[int, Step] = {}
        self.signals = Signals()
        self.verdicts = Verdicts()
        self.budget_account = BudgetAccount(submitted.budget)
        self.budget_question: BudgetQuestion | None = None
        self.not_undone: list[NotUndone] = []
        self.view: Any = None
        run = submitted.run
        self.heard = dict.fromkeys(run.seen_ids if run else ())
        self.commands: list[Publish] = []
        self._suspended = False

    @property
    def task_id(self) -> str:
        return self.submitted.task

    @property
    def silent(self) -> bool:
        """Whether what the workflow reports is to be left out: it is played again, or unwound."""
        return self.replaying or self.closed

    # ------------------------------------------------------------ time and randomness

    def advance(self, at_ms: int) -> None:
        self.now_ms = min(max(self.now_ms, at_ms), NOW_MS_MAX)
        self.loop.now_s = max(self.loop.now_s, self.now_ms / 1000)

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

    # ------------------------------------------------------------ steps

    def step(self, kind: Kind, name: str, asked: Any) -> Step:
        """The next step, by the order of asking. `asked` is the JSON value that its fingerprint is of.

        A coroutine that is closed is told so once; if it goes on to ask, it waits for ever. Raises
        `StepError` for one too many, by the limits that the task was submitted with, so that it always does.
        """
        if self.closed and not self._suspended:
            self._suspended = True
            raise Suspended
        return self.steps.ask(kind, name, asked, self.loop.create_future())

    def facts_of(self, step: Step) -> dict[str, Any]:
        """The fields that the calls of models and tools have in common."""
        return {
            "task": self.task_id,
            "step": step.number,
            "fingerprint": step.fingerprint,
            "workflow": self.submitted.workflow,
            "route": step.name,
            "budget": self.budget_account.left,
            "at_ms": self.now_ms,
        }

    def publish(self, topic: str, record: Record, key: str | None = None, objects: Objects = ()) -> None:
        if not self.closed:
            self.commands.append(Publish(topic, key or self.task_id, record, objects=objects))

    def command(self, topic: str, step: Step, record: Command, key: str | None = None) -> Command:
        """Publish what the step asks for, and return it as it is published. Raises `TooLarge`."""
        try:
            fitting, objects = self.large.command(record, step.size_bytes)
        except TooLarge:
            self.steps.settle(step)
            raise
        self.publish(topic, fitting, key, objects)
        return fitting

    def accepted(self, step: Step, value: Any, event: StepSucceeded | Answered | SignalReceived) -> Any:
        """What the step makes of a value that came with the event. Raises `ValidationError` or `BadInput`."""
        if step.accept is None:
            return taken(value)
        if step.accept.judge is not None:
            value = self.verdicts.of(f"{step.number} {identity_of(event)}", step.accept.judge, value)
        return step.accept.read(value)


CURRENT_CONTEXT: ContextVar[ExecutionContext] = ContextVar("segue_execution")
"""Set in a workflow's coroutine and in all that it starts: how an agent knows the task that it runs in."""
