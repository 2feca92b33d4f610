"""The declaration of a workflow: its function, name, version and budget, and how its values are read."""

import inspect
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Generic, NamedTuple, TypeVar

from pydantic import TypeAdapter

from segue.processors.definitions.bugs import BUGS
from segue.processors.payloads.blob import as_data
from segue.processors.payloads.type_adapters import adapter_of
from segue.processors.payloads.values import jsonable, values_of
from segue.topics.parts import ABSENT, Budget

I = TypeVar("I")  # noqa: E741 - input
O = TypeVar("O")  # noqa: E741 - output

OURS = "segue."
"""How the names of workflows and tools begin that every app has."""


class Arguments(NamedTuple):
    """What a workflow is called with beside its Task."""

    args: tuple[Any, ...] = ()
    kwargs: Mapping[str, Any] = {}


@dataclass(frozen=True)
class Workflow(Generic[I, O]):
    """A declared async function that orchestrates steps. A task keeps the `version` that it began with."""

    function: Callable[..., Awaitable[O]]
    name: str
    version: int = 1
    budget: Budget | None = None
    bugs: tuple[type[Exception], ...] = BUGS

    @cached_property
    def parameter(self) -> inspect.Parameter | None:
        """That of its input, if it takes one."""
        _, *others = inspect.signature(self.function).parameters.values()
        return others[0] if others else None

    @property
    def takes_input(self) -> bool:
        return self.parameter is not None

    @property
    def has_default(self) -> bool:
        return self.parameter is not None and self.parameter.default is not inspect.Parameter.empty

    @cached_property
    def input(self) -> TypeAdapter[I]:
        if self.parameter is None:
            return TypeAdapter(Any)
        return adapter_of(self.function, self.parameter.name)

    def recorded(self, value: Any) -> Any:
        """An input that is `given`, as a record holds it."""
        return as_data(self.given(value), self.default if value is ABSENT else value)

    @property
    def default(self) -> Any:
        return self.parameter.default if self.parameter is not None and self.has_default else None

    def given(self, value: Any) -> Any:
        """Return it as JSON, or the default if it is `ABSENT`. Raises `BadInput` if JSON can't hold it."""
        value = self.default if value is ABSENT else value
        return values_of(self.input).write_as_given(value) if self.takes_input else jsonable(value)

    def validate(self, value: Any) -> Any:
        """Validate an input from outside, and return it as JSON. Raises `ValidationError` or `BadInput`."""
        if value is ABSENT and self.has_default:
            return self.recorded(value)
        value = None if value is ABSENT else value
        return values_of(self.input).validate(value) if self.takes_input else value

    def arguments(self, value: Any) -> Arguments:
        """What the function is called with beside its Task, by an input that was validated.

        Raises what `validate` does.
        """
        if self.parameter is None:
            return Arguments()
        read = values_of(self.input).read(value)
        if self.parameter.kind is inspect.Parameter.KEYWORD_ONLY:
            return Arguments(kwargs={self.parameter.name: read})
        return Arguments((read,))

    @cached_property
    def output(self) -> TypeAdapter[O]:
        return adapter_of(self.function, "return")
