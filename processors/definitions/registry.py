"""The registry: finds the declarations of an app by name. The engine uses it, and never the app's
constructor."""

from collections.abc import Awaitable, Callable, Iterable
from typing import Any

from segue.processors.definitions.checks import Check
from segue.processors.definitions.workflow import OURS, Workflow
from segue.processors.routing.circuit_breaker import CircuitBreaker
from segue.processors.routing.pricing import Price
from segue.processors.routing.rate_limits import Limit
from segue.processors.routing.routes import AnyRoute, ModelRoute, ToolRoute, names_of
from segue.topics.errors import UnknownName


class Registry:
    """Everything that a worker serves, by name. An `App` is a registry with a constructor."""

    name: str
    workflows: dict[tuple[str, int], Workflow[Any, Any]]
    routes: dict[str, AnyRoute]
    checks: dict[str, Check[Any, ...]]
    agent_names: frozenset[str]
    local: frozenset[str]
    """Names of the routes whose calls may be made where they are asked for."""
    prices: dict[str, Price]
    limits: dict[str, Limit]
    circuit_breaker: CircuitBreaker | None

    def limits_of(self, kind: str) -> dict[str, Limit]:
        """Return the limits that hold for calls of this kind, `model` or `tool`."""
        counted = names_counted(route for route in self.routes.values() if route.kind == kind)
        return {name: limit for name, limit in self.limits.items() if name in counted}

    def workflow(self, name: str, version: int | None = None) -> Workflow[Any, Any]:
        """Return the workflow of that name and version, by default the newest. Raises `UnknownName`."""
        if version is not None and (found := self.workflows.get((name, version))) is not None:
            return found
        versions = [v for n, v in self.workflows if n == name]
        if not versions:
            known = ", ".join(sorted({n for n, _ in self.workflows if not n.startswith(OURS)}))
            raise UnknownName(f"this app has no workflow {name!r}; it has: {known}")
        if version is not None:
            raise UnknownName(
                f"this app has no version {version} of workflow {name!r}; it has: {sorted(versions)}"
            )
        return self.workflows[name, max(versions)]

    def model_route(self, name: str) -> ModelRoute:
        route = self.routes.get(name)
        if not isinstance(route, ModelRoute):
            raise UnknownName(f"no model route {name!r} in app {self.name!r}: add a ModelRoute to its routes")
        return route

    def tool_route(self, name: str) -> ToolRoute[Any]:
        route = self.routes.get(name)
        if not isinstance(route, ToolRoute):
            raise UnknownName(f"no tool route {name!r} in app {self.name!r}: add it to its tools or routes")
        return route

    def check(self, name: str) -> Check[Any, ...]:
        if name not in self.checks:
            raise UnknownName(f"no check {name!r} in app {self.name!r}: add it to its checks")
        return self.checks[name]

    def observed(self, is_silent: Callable[[], bool], workflow: Awaitable[Any]) -> Awaitable[Any]:
        """The workflow, which reports what it does once, and nothing while `is_silent`."""
        return workflow


def names_counted(routes: Iterable[AnyRoute]) -> set[str]:
    """All names that a limit may be given for."""
    return {name for route in routes for i in range(len(route.names)) for name in names_of(route, i)}
