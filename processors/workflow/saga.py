"""Sagas: undo the steps of a task that fails, the last step first.

    reserve ─▶ charge ─▶ book ✗       the workflow fails, or is cancelled
    cancel  ◀─ refund ◀─ withdraw     ordinary durable steps: nothing is undone twice, nothing is left out

A tool declares its undo once, with `@tool(undo=cancel)`. The undo takes the step's result, and is called if
the step succeeded. An undo without parameters uses the key of the step, `current_attempt().undoes`, and is
also called for a step that failed, because the last attempt may have had an effect without being able to
report it.

If a step was cancelled while its call was running, the saga waits for it, because it may still succeed. An
undo that gives up is listed in the task's result, and does not stop the other undos.
"""

import asyncio
from collections.abc import Callable, Coroutine
from contextvars import ContextVar
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

from anyio import CancelScope

from segue.processors.routing.tools import Tool
from segue.processors.workflow.completion import continue_as_new_in
from segue.processors.workflow.context import ExecutionContext
from segue.processors.workflow.state.step import Step
from segue.topics.descriptions import kind_of, text_of
from segue.topics.errors import BadInput, StepError, Suspended, TooLarge
from segue.topics.records import NotUndone, Problem

Call = Callable[[str, dict[str, Any], int], Step]
"""A function that asks for a step. It takes the tool's route, its arguments, and the number of the step to
undo."""


@dataclass(frozen=True, slots=True)
class PendingUndo:
    """An undo that may still be called, by its route. `given` makes its arguments from the result of `step`,
    if there is one."""

    undo: str
    undoes: int
    given: Callable[[Any], dict[str, Any]]
    step: Step | None = None
    if_failed: bool = True


class Saga:
    """A part of a workflow that is completed as a whole, or undone: `async with task.saga():`.

    If an exception leaves the block, the steps of the saga are undone before the exception is raised further.
    If the block succeeds, the saga around it takes over its undos; the outermost saga is the task itself.
    """

    def __init__(self, context: ExecutionContext, call: Call, outer: "Saga | None" = None) -> None:
        self._context = context
        self._call = call
        self._outer = outer
        self._pending: list[PendingUndo] = []
        self._left = False

    async def __aenter__(self) -> Self:
        if self._left or hasattr(self, "_around"):
            raise BadInput(
                "this saga was entered before, and a saga can be entered only once: create "
                "another with async with task.saga():"
            )
        self._around = CURRENT.set(self)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        around = self._around
        del self._around  # it holds the context, and that the saga
        if self._context.closed or isinstance(error, Suspended):
            return
        if not isinstance(error, GeneratorExit):  # then nothing can be awaited: the outer one undoes
            CURRENT.reset(around)
            if error is not None and continue_as_new_in(error) is None:
                await self.undo()
        self._left = True
        for pending in self._pending:
            if self._outer is not None:
                self._outer.add(pending)

    def add(self, pending: PendingUndo) -> None:
        """Add an undo. If this saga has ended, because its coroutine runs longer, the saga around it takes
        the undo."""
        if self._left and self._outer is not None:
            self._outer.add(pending)
        else:
            self._pending.append(pending)

    async def undo(self) -> None:
        """Undo all steps of the saga so far, the last step first. A cancellation takes effect afterwards."""
        await to_its_end(self._undo_all())

    async def _undo_all(self) -> None:
        while self._pending:
            await self._undo(self._pending.pop())

    async def _undo(self, pending: PendingUndo) -> None:
        try:
            result = await pending.step.future if pending.step else None
        except StepError:
            if not pending.if_failed:
                return
            result = None
        try:
            self._context.steps.make_room()
            await self._call(pending.undo, pending.given(result), pending.undoes).future
        except (StepError, BadInput, TooLarge) as error:
            problem = error.problem if isinstance(error, StepError) else _unasked(error)
            self._context.not_undone.append(
                NotUndone(step=pending.undoes, undo=pending.undo, problem=problem)
            )


async def to_its_end(coroutine: Coroutine[Any, Any, None]) -> None:
    """Await it in a separate task until it ends. A cancellation in the meantime takes effect afterwards.

    The shield is needed because a cancelled scope of anyio cancels the code that waits in it repeatedly.
    """
    running = asyncio.ensure_future(coroutine)
    cancelled: asyncio.CancelledError | None = None
    with CancelScope(shield=True):
        while not running.done():
            try:
                await asyncio.wait([running])
            except asyncio.CancelledError as request:
                cancelled = request
    running.result()
    if cancelled is not None:
        raise cancelled


CURRENT: ContextVar[Saga] = ContextVar("segue_saga")
"""The innermost saga that a workflow, or a coroutine that it started, is in."""


def owed_for(step: Step, undo: Tool[..., Any]) -> PendingUndo:
    """Return the undo of a step that is being asked for."""
    takes_result = bool(undo.parameters)
    return PendingUndo(
        undo.name,
        step.number,
        lambda result: undo.arguments((result,) if takes_result else (), {}),
        step,
        if_failed=not takes_result,
    )


def _unasked(error: Exception) -> Problem:
    return Problem(type=kind_of(error), message=text_of(error), retryable=False)
