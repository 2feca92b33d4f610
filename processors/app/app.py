"""The `App`: the workflows, tools, routes, checks and services that a team declares.

An import registers nothing. An `App` lists all its parts, so a worker knows everything that it may have to
run, and reports a duplicate name when it starts.
"""

from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol, TypeVar, cast

from segue.processors.app.declarations import check_app, check_clashes, check_name
from segue.processors.app.schedules import Schedule, clock, keeper
from segue.processors.definitions.checks import Check
from segue.processors.definitions.registry import Registry, names_counted
from segue.processors.definitions.workflow import Workflow
from segue.processors.routing.circuit_breaker import CircuitBreaker
from segue.processors.routing.pricing import Price
from segue.processors.routing.rate_limits import Limit
from segue.processors.routing.routes import (
    AnyRoute,
    LoneTool,
    is_local,
    route_of,
    with_undos,
)
from segue.topics.errors import BadInput

if TYPE_CHECKING:
    from segue.processors.agents.durable import Durable


@dataclass(frozen=True)
class Service:
    """A process that `segue dev` starts together with the app. `segue dev` polls the URL `ready` until it
    answers 200."""

    name: str
    command: tuple[str, ...]
    ready: str | None = None
    env: Mapping[str, str] = field(default_factory=dict[str, str])


class NamedAgent(Protocol):
    """A Pydantic AI `Agent` with the capability `Durable`."""

    @property
    def name(self) -> str | None: ...


class App(Registry):
    """Everything that a worker serves. `segue worker travel` uses the only `App` in the module `travel`.

    `notice` is a sentence that `segue dev` shows at start, for example how an example behaves without an API
    key. `sample` is the workflow and the input that `segue dev` runs when none is given. `prices` maps the
    name of a candidate, or of its model, to a `Price`, for models that the public price list does not have,
    or has with another price.

    `limits` maps the name of a candidate, route or MCP server to a `Limit`: `{"openai:gpt-5":
    Limit(per_minute=60)}`. With a circuit breaker, a candidate that fails is not called for some time. Both
    apply to all workers together.

    Raises `BadInput` if a name is declared twice or a declaration can't be used.
    """

    def __init__(
        self,
        name: str,
        *,
        workflows: Iterable[Workflow[Any, Any]],
        routes: Iterable[AnyRoute] = (),
        tools: Iterable[LoneTool] = (),
        checks: Iterable[Check[Any, ...]] = (),
        agents: Iterable[NamedAgent] = (),
        schedules: Iterable[Schedule] = (),
        services: Iterable[Service] = (),
        prices: Mapping[str, Price] | None = None,
        limits: Mapping[str, Limit] | None = None,
        circuit_breaker: CircuitBreaker | None = None,
        notice: str | None = None,
        sample: tuple[Workflow[Any, Any], Any] | None = None,
    ) -> None:
        self.name = name
        self.workflows = _by("workflow", [*workflows, keeper], lambda w: (w.name, w.version))
        self.schedules = _by("schedule", schedules, lambda s: s.name)
        self.agents: dict[str, Durable[Any]] = _by("agent", map(_durable, agents), lambda a: a.name)
        self.agent_names = frozenset(self.agents)
        of_agents = [route for agent in self.agents.values() for route in agent.routes()]
        named = [*routes, *map(route_of, (*tools, clock)), *of_agents]
        for route in named:
            check_name("route", route.name)
        declared = with_undos(named)
        check_clashes(declared)
        self.routes: dict[str, AnyRoute] = _by("route", declared, lambda r: r.name)
        self.local = frozenset(name for name, route in self.routes.items() if is_local(route))
        self.checks = _by("check", checks, lambda c: c.name)
        self.services = tuple(services)
        self.prices = dict(prices or {})
        self.limits = dict(limits or {})
        self.circuit_breaker = circuit_breaker
        self._check_limits()
        deps_types = {name: getattr(each.agent, "deps_type", None) for name, each in self.agents.items()}
        check_app(self, deps_types, self.schedules.values())
        self.notice = notice
        self.sample = sample

    def _check_limits(self) -> None:
        known = names_counted(self.routes.values())
        if unknown := sorted(self.limits.keys() - known):
            raise BadInput(
                f"there is a limit for {unknown[0]!r}, but app {self.name!r} has no candidate, route or "
                f"MCP server of that name; it has: {', '.join(sorted(known))}"
            )
        if limited := sorted(self.limits.keys() & self.local):
            raise BadInput(
                f"there is a limit for {limited[0]!r}, which is a local tool: limits apply only in the "
                "stage `tool`, but the first attempt of a local tool runs with the workflow. "
                "Remove the limit or local=True"
            )

    def observed(self, is_silent: Callable[[], bool], workflow: Awaitable[Any]) -> Awaitable[Any]:
        """Return the workflow, whose agents report their spans and metrics once."""
        if not self.agents:
            return workflow
        from segue.processors.agents.telemetry import reported_once  # noqa: PLC0415 - as in `_durable`

        return reported_once(is_silent, workflow)


def _durable(agent: NamedAgent) -> "Durable[Any]":
    """Return the capability of an agent. The import is late, because Pydantic AI is large."""
    from segue.processors.agents.durable import durable_of  # noqa: PLC0415

    return durable_of(agent)


K = TypeVar("K")
V = TypeVar("V")


def _by(kind: str, declared: Iterable[V], key: Callable[[V], K]) -> dict[K, V]:
    found: dict[K, V] = {}
    for each in declared:
        known_as = key(each)
        check_name(kind, cast("tuple[object, ...]", known_as)[0] if isinstance(known_as, tuple) else known_as)
        if known_as in found:
            raise BadInput(
                f"the app has two {kind}s named {key(each)!r}: rename one, or give it a new version"
            )
        found[known_as] = each
    return found
