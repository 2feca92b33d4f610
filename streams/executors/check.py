"""Runs the checks of an output, in their order, until one refuses it by raising `OutputRejected`.

Where the next check is a model's to make, the checks stop there; with its verdict they go on behind it.
"""

import inspect
from typing import Any

from pydantic import ValidationError

from segue.processors.app.app import App
from segue.processors.definitions.checks import Check
from segue.streams.executors.arguments import bind, fit
from segue.streams.executors.current import serve_as_current
from segue.topics.codec import describe
from segue.topics.descriptions import text_of
from segue.topics.errors import OutputRejected, leaves
from segue.topics.records import CheckCall, CheckOutput


class CheckExecutor:
    def __init__(self, app: App) -> None:
        self._app = app

    async def start(self) -> None: ...

    async def stop(self) -> None: ...

    def candidate(self, call: CheckOutput) -> str:
        """The names of the checks, for records and metrics."""
        return ",".join(check.name for check in call.call.checks)

    async def __call__(self, record: CheckOutput) -> int | None:
        """The place of the check that a model has to make next; None if all have accepted.

        Raises `OutputRejected` with the critique, or whatever else a check raised.
        """
        checks, verdict = record.call.checks, record.verdict
        if verdict is not None and not verdict.accepted:
            raise OutputRejected(verdict.critique)
        first = record.passed + (verdict is not None)
        serve_as_current(record.call)
        for place, call in enumerate(checks[first:], first):
            if call.judge is not None:
                return place
            await _run(self._app.check(call.name), call, record)
        return None


async def _run(check: Check[Any, ...], call: CheckCall, record: CheckOutput) -> None:
    first, *others = check.signature.parameters.values()
    try:
        output = fit(check.parameters[first.name], record.result)
    except ValidationError as error:
        raise OutputRejected(f"the output does not fit: {describe(error)}") from None
    arguments = bind(f"check {check.name!r}", others, check.parameters, call.arguments)
    try:
        outcome = check.function(output, **arguments)
        if inspect.isawaitable(outcome):
            await outcome
    except ExceptionGroup as group:
        raise _refused_by(group) or group from None


def _refused_by(group: BaseException) -> OutputRejected | None:
    """All that a task group of the check refused; None if anything else failed in it."""
    critiques = [each for each in leaves(group) if isinstance(each, OutputRejected)]
    if len(critiques) < len(list(leaves(group))):
        return None
    return OutputRejected("; ".join(map(text_of, critiques)))
