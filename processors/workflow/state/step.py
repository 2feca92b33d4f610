"""A step: one durable await of a workflow."""

import asyncio
from dataclasses import dataclass
from typing import Any, Literal

from segue.processors.payloads.type_adapters import Accept
from segue.topics.records import CallModel, Question

Kind = Literal["model", "tool", "ask", "timer", "signal", "child"]


@dataclass(slots=True)
class Step:
    """A step that was asked for, the `number`th of its task.

    `accept` turns a JSON result into what the workflow gets; None takes it as it is. `child` is the id of the
    task that it waits for. A step is `settled` once its outcome has come, even if nobody waits for it.
    """

    number: int
    kind: Kind
    name: str
    fingerprint: str
    future: asyncio.Future[Any]
    accept: Accept | None = None
    call: CallModel | None = None
    question: Question | None = None
    timer: asyncio.TimerHandle | None = None
    child: str | None = None
    settled: bool = False
    size_bytes: int = 0
    """Of what was asked with, as JSON."""
