"""A step: one durable await of a workflow."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

from pydantic import TypeAdapter

from segue.processors.payloads.values import values_of
from segue.topics.records import CallModel, Question

Kind = Literal["model", "tool", "ask", "timer", "signal", "child"]


@dataclass(frozen=True, slots=True)
class Accept:
    """How a JSON value becomes what the workflow gets.

    `judge` says what its type makes of one that comes from outside, as JSON; None where it was validated
    before. `read` makes the value of that. Both raise `ValidationError` or `BadInput`.
    """

    read: Callable[[Any], Any]
    judge: Callable[[Any], Any] | None = None


@dataclass(slots=True)
class Step:
    """A step that was asked for, the `number`th of its task.

    `accept` turns a JSON result into what the workflow gets; None takes it as it is. `child` is the id of the
    task that it waits for. A step is `settled` once its outcome has come, even if nobody waits for it.
    """

    number: int
    kind: Kind
    name: str
    print: str
    future: asyncio.Future[Any]
    accept: Accept | None = None
    call: CallModel | None = None
    question: Question | None = None
    timer: asyncio.TimerHandle | None = None
    child: str | None = None
    settled: bool = False
    size_bytes: int = 0
    """Of what was asked with, as JSON."""


def accept(adapter: TypeAdapter[Any], *, validated: bool = False) -> Accept | None:
    """How values of the adapter's type are accepted; None where anything will do."""
    values = values_of(adapter)
    if values.takes_anything:
        return None
    return Accept(values.read, None if validated else values.validate)
