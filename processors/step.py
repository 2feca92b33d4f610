"""A step: one durable await of a workflow."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

from pydantic import TypeAdapter, ValidationError
from pydantic_core import to_json

from processors.blob import is_value, reference, unmarked
from topics.descriptions import is_ctrl_c, kind_of, text_of
from topics.errors import BadInput
from topics.records import CallModel, Question

Kind = Literal["model", "tool", "ask", "timer", "signal", "child"]


@dataclass(slots=True)
class Step:
    """A step that was asked for, the `number`th of its task.

    `accept` turns a JSON result into what the workflow gets, or raises `ValidationError`; None takes it as it
    is. `child` is the id of the task that it waits for. A step is `settled` once its outcome has come, even
    if the workflow no longer waits for it.
    """

    number: int
    kind: Kind
    name: str
    print: str
    future: asyncio.Future[Any]
    accept: Callable[[Any], Any] | None = None
    call: CallModel | None = None
    question: Question | None = None
    timer: asyncio.TimerHandle | None = None
    child: str | None = None
    settled: bool = False


def reader(adapter: TypeAdapter[Any]) -> Callable[[Any], Any] | None:
    """Turns a JSON value into the adapter's type, as if read from JSON text; None where anything will do."""
    if adapter.core_schema["type"] == "any":
        return None
    return lambda value: read(adapter, value)


def read(adapter: TypeAdapter[Any], value: Any) -> Any:
    """The value as that type; its reference if it stands in the object store.

    Raises `ValidationError`, or `BadInput` where a user's validator errs.
    """
    return reference(value) if is_value(value) else parse(adapter, unmarked(value))


def parse(adapter: TypeAdapter[Any], value: Any) -> Any:
    """The same of a value that is no record's: whatever it looks like, it is data."""
    try:
        return adapter.validate_json(to_json(value))
    except ValidationError:
        raise
    except BaseException as error:
        if is_ctrl_c(error):
            raise
        raise BadInput(f"can't be read: {kind_of(error)}: {text_of(error)}") from error
