"""How a workflow ended: its result as JSON, or the problem with the user's own part of the traceback."""

import asyncio
from dataclasses import dataclass
from typing import Any

from pydantic import TypeAdapter

from segue.processors.payloads.blob import as_data
from segue.processors.payloads.fingerprint import elsewhere
from segue.processors.payloads.values import values_of
from segue.topics.codec import DEPTH_MAX, json_of, too_deep
from segue.topics.descriptions import attribute_of, is_ctrl_c, kind_of, text_of, traceback_of
from segue.topics.errors import BadInput, BadOutput, StepError, TooLarge, in_words, leaves, sole
from segue.topics.records import Outcome, Problem

TRACEBACK_CHARACTERS_MAX = 8_000
"""A traceback travels in a record; its end says what happened."""


class ContinueAsNew(BaseException):
    """Ends a run. No `except Exception` of a workflow holds it up."""

    def __init__(self, given: Any, version: int) -> None:
        super().__init__("the task goes on with a new run")
        self.given = given
        self.version = version


def continue_as_new_in(error: BaseException) -> ContinueAsNew | None:
    """Which run follows, if that is what the error says: it, or a group as task groups raise it.

    In a group with another error that one counts: a failure is not lost because a run ends beside it.
    """
    raised = [each for each in leaves(error) if not isinstance(each, asyncio.CancelledError)]
    found = [each for each in raised if isinstance(each, ContinueAsNew)]
    return found[0] if found and len(found) == len(raised) else None


@dataclass(frozen=True, slots=True)
class Completion:
    outcome: Outcome
    result: Any = None
    problem: Problem | None = None
    continue_as_new: ContinueAsNew | None = None
    """Set where the task does not end, but its run."""


def cancelled(reason: str) -> Completion:
    return Completion("cancelled", problem=Problem(type="Cancelled", message=reason, retryable=False))


def completion_of(task: asyncio.Task[Any]) -> Completion:
    """The ending of a coroutine that is done."""
    try:
        return Completion("succeeded", task.result())
    except asyncio.CancelledError as request:
        return cancelled(text_of(request) or "cancelled")
    except BaseException as error:
        if is_ctrl_c(error):
            raise
        if (again := continue_as_new_in(error)) is not None:
            return Completion("succeeded", continue_as_new=again.with_traceback(None))
        return Completion("failed", problem=problem_by(error))


def as_json(result: Any, output: TypeAdapter[Any], bytes_max: int) -> Any:
    """What a workflow returned. Raises `BadOutput` if it is not what its annotation says, or `TooLarge`."""
    try:
        value = values_of(output).write(result)
        body = json_of(value)
    except BadInput as error:
        kind = type(result).__name__
        raise BadOutput(
            f"the workflow returned {kind}, which its annotation does not allow: {error}"
        ) from None
    if too_deep(body):
        raise TooLarge(f"the workflow returned lists and objects nested deeper than {DEPTH_MAX}")
    if (size := len(body)) > bytes_max:
        raise TooLarge(
            f"the workflow returned {size:,} bytes, but at most {bytes_max:,} can be "
            f"sent{elsewhere(bytes_max)}: let a tool write a Blob, and return the Blob"
        )
    return as_data(value, result)


def problem_by(error: BaseException) -> Problem:
    """What a workflow raised, with the user's own part of the traceback."""
    cause = sole(error)
    return Problem(
        type=_type_of(cause),
        message=in_words(cause),
        retryable=False,
        traceback=traceback_of(error, TRACEBACK_CHARACTERS_MAX),
    )


def _type_of(cause: BaseException) -> str:
    """Of a step's error that of the step's problem; a subclass of the user's may have none."""
    problem = attribute_of(cause, "problem") if issubclass(type(cause), StepError) else None
    return problem.type if isinstance(problem, Problem) else kind_of(cause)
