"""Runs the checks of an output, in their order, until one refuses it by raising `Refused`."""

import inspect
from typing import Any

from pydantic import ValidationError

from processors.app import App, Check
from streams.executors.arguments import bind, fit
from streams.executors.current import serve_as_current
from topics.codec import describe
from topics.errors import Refused
from topics.records import CheckCall, CheckOutput


class CheckExecutor:
    def __init__(self, app: App) -> None:
        self._app = app

    async def start(self) -> None: ...

    async def stop(self) -> None: ...

    def candidate(self, call: CheckOutput) -> str:
        """The names of the checks, for records and metrics."""
        return ",".join(check.name for check in call.call.checks)

    async def __call__(self, record: CheckOutput) -> None:
        """Raises `Refused` with the critique, or whatever else a check raised."""
        serve_as_current(record.call)
        for call in record.call.checks:
            await _run(self._app.check(call.name), call, record)


async def _run(check: Check[Any, ...], call: CheckCall, record: CheckOutput) -> None:
    first, *others = check.signature.parameters.values()
    try:
        output = fit(check.parameters[first.name], record.result)
    except ValidationError as error:
        raise Refused(f"the output does not fit: {describe(error)}") from None
    arguments = bind(f"check {check.name!r}", others, check.parameters, call.arguments)
    outcome = check.function(output, **arguments)
    if inspect.isawaitable(outcome):
        await outcome
