"""Tools: typed functions whose calls from a workflow are durable steps."""

import asyncio
import inspect
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Generic, ParamSpec, Protocol, TypeVar, cast, overload

from pydantic import TypeAdapter

from segue.processors.event_loop.loop import WorkflowLoop
from segue.processors.payloads.blob import as_data
from segue.processors.payloads.type_adapters import adapter_of, parameters_of
from segue.processors.payloads.values import values_of
from segue.processors.routing.policy import FIELDS, Policy
from segue.topics.errors import BadInput

P = ParamSpec("P")
R = TypeVar("R")

_UNNAMED = (
    inspect.Parameter.VAR_POSITIONAL,
    inspect.Parameter.VAR_KEYWORD,
    inspect.Parameter.POSITIONAL_ONLY,
)

Undo = Callable[[R], Awaitable[Any]] | Callable[[], Awaitable[Any]]
"""A tool that undoes a step: it takes the step's result, or takes nothing and uses
`current_attempt().undoes`."""


@dataclass(frozen=True)
class Tool(Generic[P, R]):
    """A typed function whose calls from a workflow are durable steps. Create it with `@tool`."""

    function: Callable[P, Awaitable[R] | R]
    name: str
    policy: Policy = Policy()
    undo: "Tool[..., Any] | None" = None
    local: bool = False

    async def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        """Call the plain function, without durability, for tests of it. Raises `BadInput` in a workflow."""
        if isinstance(asyncio.get_running_loop(), WorkflowLoop):
            raise BadInput(
                f"tool {self.name!r} is called as a plain function, which is not a step: write await "
                f"task.tool({self.name}, …)"
            )
        returned: Any = self.function(*args, **kwargs)
        answer: R = await returned if inspect.isawaitable(returned) else returned
        return answer

    def undone_by(self, undo: Undo[R]) -> "Tool[P, R]":
        """Return this tool with another undo for one call: `task.tool(book.undone_by(cancel), offer)`."""
        return replace(self, undo=undo_of(self.name, undo))

    @cached_property
    def signature(self) -> inspect.Signature:
        return inspect.signature(self.function)

    @cached_property
    def parameters(self) -> Mapping[str, TypeAdapter[Any]]:
        """Return the type of each argument; an argument without an annotation may be any value."""
        return parameters_of(self.function)

    @cached_property
    def output(self) -> TypeAdapter[R]:
        return adapter_of(self.function, "return")

    @cached_property
    def required(self) -> frozenset[str]:
        named = self.signature.parameters.items()
        return frozenset(name for name, parameter in named if parameter.default is parameter.empty)

    def arguments(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> dict[str, Any]:
        """Return the arguments of a call as JSON, by name. Raises `TypeError` when the function would."""
        return self.as_json(self.bound(args, kwargs))

    def bound(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> dict[str, Any]:
        """Return the arguments of a call by name. Raises `TypeError` when the function would."""
        if args or not (self.required <= kwargs.keys() <= self.parameters.keys()):
            return self._bind(args, kwargs)
        return kwargs

    def as_json(self, bound: dict[str, Any]) -> dict[str, Any]:
        return {
            name: as_data(values_of(self.parameters[name]).write_as_given(value), value)
            for name, value in bound.items()
        }

    def _bind(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> dict[str, Any]:
        try:
            return self.signature.bind(*args, **kwargs).arguments
        except TypeError as error:
            raise TypeError(f"tool {self.name!r}: {error}") from None


def undo_of(name: str, undo: "Undo[Any] | None") -> Tool[..., Any] | None:
    """Return the undo of the tool or route of that name. Raises `BadInput` if it can't be used as an undo."""
    if undo is None:
        return None
    if not isinstance(undo, Tool):
        raise BadInput(f"the undo of {name!r} must be a @tool, so that it is a durable step itself")
    declared = cast("Tool[..., Any]", undo)
    if len(declared.signature.parameters) > 1:
        raise BadInput(f"{declared.name!r}, the undo of {name!r}, may take its result as its only argument")
    return declared


class DeclaresTool(Protocol):
    """The decorator that `@tool(…)` returns. A tool of an async function returns the awaited value."""

    @overload
    def __call__(self, function: Callable[P, Awaitable[R]], /) -> Tool[P, R]: ...
    @overload
    def __call__(self, function: Callable[P, R], /) -> Tool[P, R]: ...


class DeclaresUndoneTool(Protocol[R]):
    """The same decorator for an undo that takes an `R`."""

    @overload
    def __call__(self, function: Callable[P, Awaitable[R]], /) -> Tool[P, R]: ...
    @overload
    def __call__(self, function: Callable[P, R], /) -> Tool[P, R]: ...


@overload
def tool(function: Callable[P, Awaitable[R]], /) -> Tool[P, R]: ...
@overload
def tool(function: Callable[P, R], /) -> Tool[P, R]: ...
@overload
def tool(
    *,
    undo: Callable[[], Awaitable[Any]] | None = None,
    name: str | None = None,
    timeout_s: float = ...,
    retries: int = ...,
    backoff_s: float = ...,
    backoff_s_max: float = ...,
    local: bool = ...,
) -> DeclaresTool: ...
@overload
def tool(
    *,
    undo: Callable[[R], Awaitable[Any]],
    name: str | None = None,
    timeout_s: float = ...,
    retries: int = ...,
    backoff_s: float = ...,
    backoff_s_max: float = ...,
    local: bool = ...,
) -> DeclaresUndoneTool[R]: ...
def tool(
    function: Any = None,
    /,
    *,
    name: str | None = None,
    undo: Any = None,
    local: bool = False,
    **policy: Any,
) -> Any:
    """Declare a function to be a tool: its calls from a workflow are steps, and the policy retries them.

    Arguments and result are sent as JSON, by their annotations. In the function, `current_attempt()` returns
    the idempotency key for outside services. Raise `Retryable` or `Permanent` to say whether a failure may be
    retried. A function that is not async is called in a thread; if it runs longer than its timeout, it
    continues, and its result is ignored.

    `undo` is a tool that takes the result of this tool, and undoes it if the task fails later. With
    `local=True` the first attempt runs in the same process as the workflow, for tools that answer within
    milliseconds. Keyword arguments of a `Policy` (`timeout_s`, `retries`, …) set the tool's policy. Raises
    `BadInput` for a function that can't be a tool.
    """

    def declare(function: Callable[P, Awaitable[R] | R]) -> Tool[P, R]:
        if inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function):
            raise BadInput(
                f"tool {function.__name__!r} is a generator, which a tool can't be: return a "
                "list, or write a Blob"
            )
        if local and not inspect.iscoroutinefunction(function):
            raise BadInput(
                f"tool {function.__name__!r} can't be local, because it is not async: a blocking function "
                "can't be interrupted, and other tasks would wait for it. Make it async, or leave local "
                "out"
            )
        if any(p.kind in _UNNAMED for p in inspect.signature(function).parameters.values()):
            raise BadInput(
                f"tool {function.__name__!r}: arguments are passed by name, so it can't have *args, "
                "**kwargs or /"
            )
        known_as = name or function.__name__
        if unknown := sorted(policy.keys() - FIELDS):
            takes = ", ".join(("name", "undo", "local", *FIELDS))
            raise BadInput(f"tool {known_as!r} takes no {unknown[0]}; it takes {takes}")
        return Tool(function, known_as, Policy(**policy), undo_of(known_as, undo), local)

    return declare(function) if function is not None else declare
