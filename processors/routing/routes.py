"""Candidates for a step: tools, models, and the routes that order them under a policy."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Generic, Literal, ParamSpec, Protocol, TypeVar, cast

from pydantic import TypeAdapter

from segue.processors.payloads.type_adapters import Accept, accept
from segue.processors.payloads.values import adapter_for
from segue.processors.routing.mcp import McpTool
from segue.processors.routing.openapi import OpenApiTool
from segue.processors.routing.policy import Policy
from segue.processors.routing.selection import Chooser
from segue.processors.routing.tools import Tool, Undo, undo_of
from segue.topics.errors import BadInput

P = ParamSpec("P")
R = TypeVar("R")


@dataclass(frozen=True)
class AgentTool:
    """A tool, or a whole toolset, of a Pydantic AI agent, which knows how to call it."""

    name: str


class ModelInstance(Protocol):
    """A Pydantic AI `Model` object, for models that have no name in Pydantic AI."""

    @property
    def model_name(self) -> str: ...


ToolCandidate = Tool[..., Any] | McpTool | OpenApiTool | AgentTool
ModelCandidate = str | ModelInstance


@dataclass(frozen=True)
class ToolRoute(Generic[R]):
    """A route of tools, one of which answers each call: `ToolRoute("search", [primary, spare],
    output=Hotels)`.

    The candidates are tried in order, or in the order that `choose` returns: see `selection`.
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
        """Return how a JSON result becomes the route's output. The result of a single tool is already
        validated.
        """
        match self.candidates:
            case [Tool() as alone] if self.adapter is alone.output:
                return accept(self.adapter, validated=True)
            case _:
                return accept(self.adapter)


@dataclass(frozen=True)
class ModelRoute:
    """A route of models, one of which answers each call: `ModelRoute("rank", ["anthropic:…", "ollama:…"])`.

    The candidates are tried in order, or in the order that `choose` returns: see `selection`. A candidate is
    the name of a model in Pydantic AI, or a `Model` object. `settings` are Pydantic AI's model settings
    (`temperature`, `max_tokens`, …). With `stream=True` people can watch the text while the model writes it.
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
"""Tools that can be called without a route that the user declares."""


def route_of(declared: LoneTool) -> ToolRoute[Any]:
    """Return the route of a single tool, with the tool's own policy."""
    policy = None if isinstance(declared, McpTool) else declared.policy
    undo = declared.undo if isinstance(declared, Tool) else None
    route: ToolRoute[Any] = ToolRoute(declared.name, [declared], policy=policy or Policy(), undo=undo)
    if isinstance(declared, Tool):
        route.__dict__["adapter"] = declared.output
    return route


def is_local(route: AnyRoute) -> bool:
    """Return whether its calls may run with the workflow: the route has one tool, which is declared local."""
    match route.candidates:
        case [Tool(local=True)]:
            return route.choose is None
        case _:
            return False


def names_of(route: AnyRoute, candidate: int) -> tuple[str, ...]:
    """Return the names that a call counts for: its route, its candidate, and the candidate's MCP server."""
    if candidate >= len(route.candidates):
        return (route.name,)
    asked = route.candidates[candidate]
    server = (asked.server.name,) if isinstance(asked, McpTool) else ()
    return (route.name, route.names[candidate], *server)


def with_undos(routes: list[AnyRoute]) -> list[AnyRoute]:
    """Return the routes, and the routes of their undos that are not among them."""
    known = {route.name for route in routes}
    undos = [undo_of(route.name, route.undo) for route in routes if isinstance(route, ToolRoute)]
    missing = {undo.name: route_of(undo) for undo in undos if undo is not None and undo.name not in known}
    return [*routes, *missing.values()]


def _is_sound(route: AnyRoute) -> None:
    if not route.candidates:
        raise BadInput(f"route {route.name!r} has no candidates: give at least one")
    for name in getattr(route.choose, "candidates", ()):
        if name not in route.names:
            there = ", ".join(route.names)
            raise BadInput(
                f"the chooser of route {route.name!r} names {name!r}, which is not a candidate "
                f"of the route; it has: {there}"
            )
