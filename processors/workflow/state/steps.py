"""The steps of a run: numbered in the order of asking, counted while they are open, and limited."""

import asyncio
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from typing import Any

from segue.processors.event_loop.loop import forget
from segue.processors.payloads.fingerprint import fingerprint_of, fits
from segue.processors.workflow.state.step import Kind, Step
from segue.topics.contracts import PAYLOAD_BYTES_MAX
from segue.topics.errors import StepError, TooManySteps
from segue.topics.records import Problem, Submitted
from segue.topics.runs import first_step_of

CLEAN_UP_STEPS_MAX = 100
"""Steps that a task may still ask for, after it was told that it asked for too many."""

CALLS = ("model", "tool")

BY_REFERENCE = (*CALLS, "child")
"""What these are asked with may be in the object store."""


class Steps:
    """`first` is the number of the first; `calls` are the models and tools that have not answered.

    The limits are those that the task was submitted with, so that it always goes the same way.
    `held_bytes_max` is how much a call or a child may be asked with.
    """

    def __init__(self, submitted: Submitted, held_bytes_max: int) -> None:
        self._held_bytes_max = held_bytes_max
        self.first = first_step_of(submitted)
        self.calls = 0
        self._steps: list[Step] = []
        self._open = 0
        self._children = 0
        self._timers: list[tuple[asyncio.TimerHandle, int | None]] = []
        self._closes: int | None = None
        self._submitted = submitted
        self._most = submitted.steps_max

    def __len__(self) -> int:
        return len(self._steps)

    def __iter__(self) -> Iterator[Step]:
        return iter(self._steps)

    @property
    def next(self) -> int:
        """The number of the one that is asked for next."""
        return self.first + len(self._steps)

    @property
    def any_open(self) -> bool:
        return self._open > 0

    @property
    def any_settled(self) -> bool:
        return self._open < len(self._steps)

    @property
    def awaits_somebody(self) -> bool:
        return any(step.kind in ("ask", "signal") and not step.future.done() for step in self._steps)

    def at(self, number: int) -> Step | None:
        place = number - self.first
        return self._steps[place] if 0 <= place < len(self._steps) else None

    def ask(self, kind: Kind, name: str, asked: Any, future: asyncio.Future[Any]) -> Step:
        """The next step. Raises `StepError` for one too many."""
        self._ensure_room(name)
        step = self.add(kind, name, asked, future)
        if self.calls + self._children > (most := self._submitted.pending_steps_max):
            self.settle(step)
            raise _too_many(name, step.number, "pending_steps_max", most, "open")
        return step

    def add(self, kind: Kind, name: str, asked: Any, future: asyncio.Future[Any]) -> Step:
        """The next step, for which there is room."""
        body = fits(kind, name, asked, self._held_bytes_max if kind in BY_REFERENCE else PAYLOAD_BYTES_MAX)
        step = Step(self.next, kind, name, fingerprint_of(kind, name, body), future, size_bytes=len(body))
        self._steps.append(step)
        self._open += 1
        self.calls += kind in CALLS
        self._children += kind == "child"
        return step

    def settle(self, step: Step, result: Any = None, error: Exception | None = None) -> None:
        """It has its outcome, or nobody waits for one."""
        self._open -= 1
        self.calls -= step.kind in CALLS
        self._children -= step.kind == "child"
        step.settled = True
        if step.future.done():
            return
        if error is not None:
            step.future.set_exception(error)
        else:
            step.future.set_result(result)

    def expect_timer(self, timer: asyncio.TimerHandle) -> None:
        """Called where the workflow sets it; it is a step only if it still wants it when it blocks."""
        self._ensure_room("timer")
        self._timers.append((timer, self._closes))

    @contextmanager
    def closing(self, question: Step) -> Generator[None]:
        """A timer that is set within is the deadline of that question."""
        self._closes = question.number
        try:
            yield
        finally:
            self._closes = None

    def timers(self) -> list[tuple[asyncio.TimerHandle, int | None]]:
        """Those that the workflow has set since, and still wants; with the question that each closes."""
        timers, self._timers = self._timers, []
        return [(timer, closes) for timer, closes in timers if not timer.cancelled()]

    def make_room(self) -> None:
        """For one step more than the limit: what undoes a step was allowed with it."""
        self._most = max(self._most, len(self._steps) + len(self._timers) + 1)

    def forget(self) -> None:
        for step in self._steps:
            forget(step.future)
            if step.timer is not None:
                step.timer.cancel()  # it holds its callback, and that mostly what holds the timer
        for timer, _ in self._timers:
            timer.cancel()
        self._steps.clear()
        self._timers.clear()

    def _ensure_room(self, name: str) -> None:
        if len(self._steps) + len(self._timers) >= self._most:
            raise self._one_too_many(name)

    def _one_too_many(self, name: str) -> StepError | TooManySteps:
        """Tell the workflow once, and let it clean up; if it takes that for more of the same, end it."""
        most = self._submitted.steps_max
        error = _too_many(name, self.next, "steps_max", most, "in all")
        if self._most > most:
            return TooManySteps(error.problem.message)
        self._most += CLEAN_UP_STEPS_MAX
        return error


def _too_many(name: str, number: int, limit: str, most: int, how: str) -> StepError:
    advice = "move parts of the work to child tasks"
    message = f"more than {most:,} steps {how} ({limit}): {advice}"
    return StepError(name, number, Problem(type="TooManySteps", message=message, retryable=False))
