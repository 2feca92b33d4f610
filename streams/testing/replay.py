"""Runs a task's workflow again over the task's own log: the same code as stage `conduct`, without effects.

Nothing is published and nobody is called: each await gets what the log says it got. It runs in the caller's
thread, outside any event loop, so that `breakpoint()` in the workflow stops there.
"""

import hashlib
import random
import sys
from collections.abc import Generator, Iterable, Mapping
from typing import Any, NamedTuple

from segue.processors.app.app import App
from segue.processors.payloads.blob import Blob, is_value
from segue.processors.workflow.completion import Completion
from segue.processors.workflow.execution import WorkflowExecution
from segue.topics import codec
from segue.topics.errors import BadInput, UnknownName
from segue.topics.flow import Publish, Received
from segue.topics.records import (
    Admitted,
    Event,
    Problem,
    Rejected,
    Result,
    StepFailed,
    StepSucceeded,
    Submitted,
    TimerFired,
)
from segue.topics.runs import run_of

OUTCOMES = (StepSucceeded, StepFailed, TimerFired)


class Played(NamedTuple):
    """An event of the log and what the workflow asked for because of it."""

    event: Event
    asked: list[Publish]


class Replay:
    """`for played in replay: …` runs it; afterwards `ending` or `parked` say how it went.

    `until` stops it before the outcome of that step, and of all that came later. Of a task that went on anew
    it is the last run that is in the history, or `run`.
    """

    def __init__(
        self, app: App, history: Iterable[Received], until: int | None = None, run: int | None = None
    ) -> None:
        records = [codec.decode(r.topic, r.value) for r in history if r.topic in ("events", "results")]
        self._until = until
        self._events: list[Event] = [r for r in records if not isinstance(r, Result)]
        begun = begun_by(self._events)
        self._submitted = begun[_which(self._events, begun, run)]
        self._recorded = next((r for r in records if self._is_its_end(r)), None)
        self._following = begun.get(run_of(self._submitted) + 1)
        app.workflow(self._submitted.workflow, self._submitted.version)  # raises if it is not there
        self._app = app
        self.execution: WorkflowExecution | None = None

    def __iter__(self) -> Generator[Played]:
        self.execution = execution = WorkflowExecution(
            self._app,
            self._submitted,
            random.Random,
            queued=self._submitted.run is None and any(isinstance(e, Admitted) for e in self._events),
            replaying=True,
            references=_InPlace(),
        )
        execution.start()
        yield Played(self._submitted, execution.take())
        for event in self._events:
            if execution.completion or execution.knows(event):
                continue
            if isinstance(event, OUTCOMES) and event.step == self._until:
                return
            if not isinstance(event, Submitted | Rejected):
                execution.apply(event)
                yield Played(event, execution.take())
            if execution.parked and not execution.at_bug:
                return

    def _is_its_end(self, record: Event | Result) -> bool:
        """An id may have been rejected before it began."""
        if not isinstance(record, Result) or record.outcome == "rejected":
            return False
        return record.started_ms == self._submitted.at_ms

    @property
    def parked(self) -> Problem | None:
        """Where the workflow as it is now differs from the log, or has a bug."""
        return self.execution.parked if self.execution else None

    @property
    def different_ending(self) -> str | None:
        """What the recorded result and that of this run differ in; None if they agree, or one has no end."""
        completion, was = self.execution.completion if self.execution else None, self._was
        if completion is None or was is None:
            return None
        now = self._ending_of(completion)
        return None if was == now else f"the log ends with {was}, this run with {now}"

    def _ending_of(self, completion: Completion) -> str:
        if completion.continue_as_new is not None:
            return _going_on(
                _as_recorded(completion.continue_as_new.given, self._following and self._following.input)
            )
        return _ending(
            completion.outcome, _as_recorded(completion.result, self._recorded and self._recorded.result)
        )

    @property
    def _was(self) -> str | None:
        if self._following is not None:
            return _going_on(self._following.input)
        return _ending(self._recorded.outcome, self._recorded.result) if self._recorded else None


class _InPlace:
    """Nothing goes to the object store: what is played again is compared, and not published."""

    payload_bytes_max = sys.maxsize

    def reference(self, task: str, tenant: str | None, body: bytes, media_type: str) -> Blob:
        raise AssertionError("no value is as large")


def _as_recorded(value: Any, recorded: Any) -> Any:
    """The reference that was recorded, if it is to this value."""
    if is_value(recorded) and hashlib.sha256(codec.json_of(value)).hexdigest() == recorded["sha256"]:
        return recorded
    return value


def _ending(outcome: str, result: Any) -> str:
    return outcome if result is None else f"{outcome}: {result!r}"


def _going_on(given: Any) -> str:
    return f"going on with {given!r}"


def begun_by(events: Iterable[Event]) -> dict[int, Submitted]:
    """Return the event that each run began by: the first, for a request that is sent again starts nothing."""
    begun: dict[int, Submitted] = {}
    for event in events:
        if isinstance(event, Submitted):
            begun.setdefault(run_of(event), event)
    return begun


def _which(events: Iterable[Event], begun: Mapping[int, Submitted], run: int | None) -> int:
    """The number of the run to play."""
    number = max(begun, default=0) if run is None else run
    if number in begun:
        return number
    for event in events:
        if isinstance(event, Rejected) and not begun:
            raise BadInput(f"task {event.task!r} never began: {event.problem.message}")
    raise UnknownName("the task can't be replayed, because the beginning of its log has expired")
