"""Who can do a step: tools, models, and the routes that put them in order under a policy."""

import asyncio
import inspect
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field, fields, replace
from functools import cached_property
from typing import Any, Generic, Literal, ParamSpec, Protocol, TypeVar, cast, overload

from pydantic import TypeAdapter

from segue.processors.event_loop.loop import WorkflowLoop
from segue.processors.payloads.blob import as_data
from segue.processors.payloads.type_adapters import adapter_of, parameters_of
from segue.processors.payloads.values import adapter_for, values_of
from segue.processors.routing.openapi import OpenApiTool
from segue.processors.routing.selection import Chooser
from segue.processors.workflow.state.step import Accept, accept
from segue.topics.errors import BadInput

P = ParamSpec("P")
R = TypeVar("R")

_UNNAMED = (
    inspect.Parameter.VAR_POSITIONAL,
    inspect.Parameter.VAR_KEYWORD,
    inspect.Parameter.POSITIONAL_ONLY,
)


Undo = Callable[[R], Awaitable[Any]] | Callable[[], Awaitable[Any]]
"""A tool that undoes a step: it takes its result, or nothing and goes by `current_attempt().undoes`."""


@dataclass(frozen=True)
class Policy:
    """What happens when an attempt fails.

    A candidate is tried `1 + retries` times; the wait before a retry is drawn evenly between 0 and
    `backoff_s * 2**tries`, at most `backoff_s_max` (full jitter), and never less than what the service
    asked for by Retry-After. Then the next candidate is tried; after the last, the workflow gets a
    `StepError`. An output that a check refuses goes back to the candidate with the critique, at most
    `critiques` times, and then to the next: with `critiques=0` at once, from the cheap one to the strong
    one.
    A result over `result_bytes_max`, as JSON, is a failure that no retry mends; one below it that fits no
    record is kept by reference.
    """

    timeout_s: float = 60.0
    retries: int = 3
    backoff_s: float = 0.2
    backoff_s_max: float = 60.0
    critiques: int = 2
    result_bytes_max: int = 32_000_000

    def __post_init__(self) -> None:
        if self.result_bytes_max < 1:
            raise BadInput(f"result_bytes_max must be positive: {self}")
        if self.timeout_s <= 0 or self.backoff_s < 0 or self.backoff_s_max < self.backoff_s:
            raise BadInput(f"times must be positive and backoff_s_max at least backoff_s: {self}")
        if self.retries < 0 or self.critiques < 0:
            raise BadInput(f"retries and critiques count from 0: {self}")


_OF_POLICY = tuple(each.name for each in fields(Policy))


@dataclass(frozen=True)
class Tool(Generic[P, R]):
    """A typed function whose calls from a workflow are durable steps. Made by `@tool`."""

    function: Callable[P, Awaitable[R] | R]
    name: str
    policy: Policy = Policy()
    undo: "Tool[..., Any] | None" = None
    local: bool = False

    async def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        """The plain function, without durability: for its own tests. In a workflow it raises `BadInput`."""
        if isinstance(asyncio.get_running_loop(), WorkflowLoop):
            raise BadInput(
                f"tool {self.name!r} is called as a plain function, which is no step: "
                f"await task.tool({self.name}, …)"
            )
        returned: Any = self.function(*args, **kwargs)
        answer: R = await returned if inspect.isawaitable(returned) else returned
        return answer

    def undone_by(self, undo: Undo[R]) -> "Tool[P, R]":
        """The same tool for a call with an undo of its own: `task.tool(book.undone_by(cancel), offer)`."""
        return replace(self, undo=undo_of(self.name, undo))

    @cached_property
    def signature(self) -> inspect.Signature:
        return inspect.signature(self.function)

    @cached_property
    def parameters(self) -> Mapping[str, TypeAdapter[Any]]:
        """What each argument must be; an argument without an annotation may be anything."""
        return parameters_of(self.function)

    @cached_property
    def output(self) -> TypeAdapter[R]:
        return adapter_of(self.function, "return")

    @cached_property
    def required(self) -> frozenset[str]:
        named = self.signature.parameters.items()
        return frozenset(name for name, parameter in named if parameter.default is parameter.empty)

    def arguments(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> dict[str, Any]:
        """The arguments of a call as JSON, by name. Raises `TypeError` where the function would."""
        return self.as_json(self.bound(args, kwargs))

    def bound(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> dict[str, Any]:
        """The arguments of a call by name. Raises `TypeError` where the function would."""
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
    """The undo of the tool or route of that name. Raises `BadInput` if it can't be one."""
    if undo is None:
        return None
    if not isinstance(undo, Tool):
        raise BadInput(f"the undo of {name!r} must be a @tool, so that it is a durable step itself")
    declared = cast("Tool[..., Any]", undo)
    if len(declared.signature.parameters) > 1:
        raise BadInput(f"{declared.name!r}, the undo of {name!r}, may take its result and nothing more")
    return declared


class DeclaresTool(Protocol):
    """What `@tool(…)` is called with; of an async function the tool returns what is awaited."""

    @overload
    def __call__(self, function: Callable[P, Awaitable[R]], /) -> Tool[P, R]: ...
    @overload
    def __call__(self, function: Callable[P, R], /) -> Tool[P, R]: ...


class DeclaresUndoneTool(Protocol[R]):
    """The same where the undo takes an `R`."""

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
    """Declare a function to be a tool: its calls from a workflow are steps, retried by the policy.

    Arguments and result travel as JSON, by their annotations. Inside, `current_attempt()` gives the
    idempotency key for outside services; raise `Retryable` or `Permanent` to say what a failure means.
    A function that is not async is called in a thread; one that outlives its time-out goes on, unheard.
    `undo` is a tool that takes what this one returned, and undoes it if the task fails later. With `local`
    its first attempt is made where the workflow runs, for tools that answer within milliseconds.
    """

    def declare(function: Callable[P, Awaitable[R] | R]) -> Tool[P, R]:
        if inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function):
            raise BadInput(f"tool {function.__name__!r} yields: let it return a list, or write a Blob")
        if local and not inspect.iscoroutinefunction(function):
            raise BadInput(
                f"tool {function.__name__!r} can't be local: a function that blocks can't be interrupted "
                "for those who wait behind it; make it async, or leave local out"
            )
        if any(p.kind in _UNNAMED for p in inspect.signature(function).parameters.values()):
            raise BadInput(
                f"tool {function.__name__!r}: arguments travel by name, so no *args, **kwargs or /"
            )
        known_as = name or function.__name__
        if unknown := sorted(policy.keys() - _OF_POLICY):
            takes = ", ".join(("name", "undo", "local", *_OF_POLICY))
            raise BadInput(f"tool {known_as!r} takes no {unknown[0]}; it takes {takes}")
        return Tool(function, known_as, Policy(**policy), undo_of(known_as, undo), local)

    return declare(function) if function is not None else declare


@dataclass(frozen=True)
class McpServer:
    """An MCP server, by `command` (stdio) or by `url` (streamable HTTP).

    `env` is added to the few variables that a stdio server inherits; `headers` go with each HTTP request. A
    worker makes at most `calls_max` calls of it at once: more wait, and their time-outs run.
    """

    name: str
    command: tuple[str, ...] = ()
    url: str | None = None
    env: Mapping[str, str] = field(default_factory=dict[str, str], hash=False)
    cwd: str | None = None
    headers: Mapping[str, str] = field(default_factory=dict[str, str], hash=False)
    calls_max: int = 64

    def __post_init__(self) -> None:
        if self.calls_max < 1:
            raise BadInput(f"MCP server {self.name!r} needs calls_max of at least 1, not {self.calls_max}")
        words: Any = self.command
        if isinstance(words, str) or not all(isinstance(word, str) for word in words):
            raise BadInput(
                f"MCP server {self.name!r}: its command is a tuple of words, "
                f"as ('python', '-m', 'search_server'), not {self.command!r}"
            )
        object.__setattr__(self, "command", tuple(self.command))
        if bool(self.command) == bool(self.url):
            raise BadInput(f"MCP server {self.name!r} needs a command or a url, and only one of them")

    def tool(self, name: str) -> "McpTool":
        return McpTool(self, name)


@dataclass(frozen=True)
class McpTool:
    """One tool of an MCP server: a candidate of a `ToolRoute`."""

    server: McpServer
    tool: str

    @property
    def name(self) -> str:
        return f"{self.server.name}.{self.tool}"


@dataclass(frozen=True)
class AgentTool:
    """A tool, or a whole toolset, of a Pydantic AI agent, which knows how to call it."""

    name: str


class ModelInstance(Protocol):
    """A Pydantic AI `Model` object, for those that have no name to be known by."""

    @property
    def model_name(self) -> str: ...


ToolCandidate = Tool[..., Any] | McpTool | OpenApiTool | AgentTool
ModelCandidate = str | ModelInstance


@dataclass(frozen=True)
class ToolRoute(Generic[R]):
    """A role that tools can fill: `ToolRoute("search", [primary, spare], output=Hotels)`.

    They are tried in order, or in the order that `choose` gives them: see `segue.processors.routing.selection`.
    """

    name: str
    candidates: list[ToolCandidate]
    output: type[R] = cast("type[R]", object)
    policy: Policy = Policy()
    choose: Chooser | None = None
    undo: Undo[R] | None = None

    def __post_init__(self) -> None:
        _is_sound(self)
        undo_of(self.name, self.undo)

    @property
    def kind(self) -> Literal["tool"]:
        return "tool"

    @property
    def names(self) -> list[str]:
        return [candidate.name for candidate in self.candidates]

    @cached_property
    def adapter(self) -> TypeAdapter[R]:
        return adapter_for(Any if self.output is object else self.output)

    @cached_property
    def accept(self) -> Accept | None:
        """How a JSON result becomes the route's output; a tool alone has validated what it returns."""
        match self.candidates:
            case [Tool() as alone] if self.adapter is alone.output:
                return accept(self.adapter, validated=True)
            case _:
                return accept(self.adapter)


@dataclass(frozen=True)
class ModelRoute:
    """A role that models can fill: `ModelRoute("rank", ["anthropic:…", "ollama:…"])`.

    They are tried in order, or in the order that `choose` gives them: see `segue.processors.routing.selection`. A candidate
    is a model's usual Pydantic AI name or a `Model` object. `settings` are Pydantic AI's model settings
    (`temperature`, `max_tokens`, …). With `stream` what a model writes can be watched meanwhile.
    """

    name: str
    candidates: list[ModelCandidate]
    instructions: str | None = None
    settings: Mapping[str, Any] = field(default_factory=dict[str, Any])
    policy: Policy = Policy()
    choose: Chooser | None = None
    stream: bool = False

    def __post_init__(self) -> None:
        _is_sound(self)

    @property
    def kind(self) -> Literal["model"]:
        return "model"

    @property
    def names(self) -> list[str]:
        return [c if isinstance(c, str) else c.model_name for c in self.candidates]


AnyRoute = ToolRoute[Any] | ModelRoute


LoneTool = Tool[..., Any] | McpTool | OpenApiTool
"""What may be called without a route of the user's."""


def route_of(declared: LoneTool) -> ToolRoute[Any]:
    """The route that a tool has by itself, with its own policy."""
    policy = None if isinstance(declared, McpTool) else declared.policy
    undo = declared.undo if isinstance(declared, Tool) else None
    route: ToolRoute[Any] = ToolRoute(declared.name, [declared], policy=policy or Policy(), undo=undo)
    if isinstance(declared, Tool):
        route.__dict__["adapter"] = declared.output
    return route


def is_local(route: AnyRoute) -> bool:
    """Whether its calls may be made where they are asked for: there is one tool to call, and it says so."""
    match route.candidates:
        case [Tool(local=True)]:
            return route.choose is None
        case _:
            return False


def names_of(route: AnyRoute, candidate: int) -> tuple[str, ...]:
    """All that a call counts as: its route, its candidate, and the MCP server behind that."""
    if candidate >= len(route.candidates):
        return (route.name,)
    asked = route.candidates[candidate]
    server = (asked.server.name,) if isinstance(asked, McpTool) else ()
    return (route.name, route.names[candidate], *server)


def with_undos(routes: list[AnyRoute]) -> list[AnyRoute]:
    """The routes, and those of the undos that they name and that are not among them."""
    known = {route.name for route in routes}
    undos = [undo_of(route.name, route.undo) for route in routes if isinstance(route, ToolRoute)]
    missing = {undo.name: route_of(undo) for undo in undos if undo is not None and undo.name not in known}
    return [*routes, *missing.values()]


def _is_sound(route: AnyRoute) -> None:
    if not route.candidates:
        raise BadInput(f"route {route.name!r} has no candidates")
    for name in getattr(route.choose, "candidates", ()):
        if name not in route.names:
            there = ", ".join(route.names)
            raise BadInput(f"route {route.name!r} chooses {name!r}, which it has not; there are: {there}")
