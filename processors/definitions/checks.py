"""Checks: their declarations, and their references in calls of models."""

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Generic, ParamSpec, TypeVar

from pydantic import TypeAdapter

from segue.processors.payloads.blob import as_data
from segue.processors.payloads.type_adapters import parameters_of
from segue.processors.payloads.values import jsonable, values_of
from segue.processors.routing.routes import ModelRoute

P = ParamSpec("P")
T = TypeVar("T")
T_contra = TypeVar("T_contra", contravariant=True)


@dataclass(frozen=True)
class BoundCheck(Generic[T_contra]):
    """A check with its arguments, except the output; create it by calling a `@check`, or with `judge`.

    `judge` names the route of the models that judge.
    """

    name: str
    arguments: Mapping[str, Any] = field(default_factory=dict[str, Any])
    judge: str | None = None


@dataclass(frozen=True)
class Check(Generic[T, P]):
    """A function that accepts an output by returning and rejects it by raising `OutputRejected`."""

    function: Callable[..., Any]
    name: str

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> BoundCheck[T]:
        """Return the check with its arguments, for `task.model(..., check=…)`."""
        arguments = inspect.signature(self.function).bind_partial(None, *args, **kwargs).arguments
        first, *_ = arguments
        del arguments[first]
        return BoundCheck(self.name, dict(arguments))

    @cached_property
    def signature(self) -> inspect.Signature:
        return inspect.signature(self.function)

    @cached_property
    def parameters(self) -> Mapping[str, TypeAdapter[Any]]:
        """Return the types of the output, which comes first, and of the bound arguments."""
        return parameters_of(self.function)

    def arguments(self, bound: Mapping[str, Any]) -> dict[str, Any]:
        """Return the bound arguments as JSON. The stage that runs the check rejects an unknown argument."""
        known = self.parameters
        return {
            name: as_data(
                values_of(known[name]).write_as_given(value) if name in known else jsonable(value), value
            )
            for name, value in bound.items()
        }


def judge(question: str, *, route: ModelRoute | str, **given: Any) -> BoundCheck[object]:
    """Return a check by which a model of `route` judges the output. An output that it rejects goes back with
    its critique.

    `question` is a question to which yes means a good output. `given` are named facts for the judge. The
    judge also sees the prompt of the model that it judges. The policy of the judge's own route applies; if
    the judge gives no verdict, the step fails. Raises `BadInput` if JSON can't hold a fact.
    """
    name = route if isinstance(route, str) else route.name
    jsonable(given)  # raises here, where the value was written
    arguments: Mapping[str, Any] = {"question": question, "given": given}
    return BoundCheck(name, arguments, judge=name)
