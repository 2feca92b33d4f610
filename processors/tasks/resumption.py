"""Finds where the open tasks of a partition resume, for a worker that has just taken it.

Only the first tasks are looked at: each is rebuilt by its journal, and a partition may have 100,000.
"""

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from itertools import islice
from typing import NamedTuple

from segue.processors.tasks.journal import journal_key, task_of
from segue.processors.tasks.task_cache import CachedTask
from segue.processors.workflow.execution import WorkflowExecution
from segue.processors.workflow.phases import Running
from segue.processors.workflow.state.step import Step
from segue.topics.errors import BadRecord
from segue.topics.flow import State

TASKS_MAX = 5
"""The most tasks of one partition that are reported."""

ENTRIES_MAX = 1_000
"""Journal entries that are played for it, on one partition."""


class Resumed(NamedTuple):
    """The task goes on at `step`, the first step whose outcome it awaits, which is called `name`."""

    task: str
    workflow: str
    step: int
    name: str

    @property
    def text(self) -> str:
        return f"task {self.task} resumed at step {self.step}" + (f": {self.name}" if self.name else "")


def resumed(state: State, find: Callable[[str], CachedTask | None]) -> Iterator[Resumed]:
    """Yield where the first running tasks of the state resume; none that waits for its turn or is parked."""
    for task in _first_tasks(state):
        with suppress(BadRecord):  # the key of an encrypted task is gone, so its journal can't be read
            cached = find(task)
            if cached is not None and isinstance(cached.execution.phase, Running):
                yield _resumed(cached.execution)


def _first_tasks(state: State) -> list[str]:
    """Return the first tasks whose journals are together not too long to be played."""
    keys = [key for key, _ in islice(state.scan(journal_key("")[:1]), ENTRIES_MAX + 1)]
    tasks = Counter(map(task_of, keys))
    if len(keys) > ENTRIES_MAX:
        tasks.popitem()  # its journal goes on
    return list(tasks)[:TASKS_MAX]


def _resumed(execution: WorkflowExecution) -> Resumed:
    steps, submitted = execution.context.steps, execution.submitted
    step = next(filter(_is_awaited, steps), None)
    if step is None:
        return Resumed(submitted.task, submitted.workflow, steps.next, "")
    name = step.kind if step.kind == step.name else f"{step.kind} {step.name}"
    return Resumed(submitted.task, submitted.workflow, step.number, name)


def _is_awaited(step: Step) -> bool:
    """Return whether the step has no outcome and the workflow has not given up waiting for one."""
    given_up = step.future.done() or (step.timer is not None and step.timer.cancelled())
    return not step.settled and not given_up
