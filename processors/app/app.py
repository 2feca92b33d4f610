"""What a team declares: workflows, tools, routes, checks and the services that its example needs.

Nothing registers itself by being imported; an `App` lists what it consists of, so that a worker knows all
that it can be asked for, and says so at start when a name is there twice.
"""

import inspect
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import (
    TYPE_CHECKING,
    Any,
    Concatenate,
    Generic,
    ParamSpec,
    Protocol,
    TypeVar,
    cast,
    overload,
)

from pydantic import TypeAdapter

from segue.processors.app.declarations import check_app, check_clashes, check_name
from segue.processors.payloads.blob import as_data
from segue.processors.payloads.type_adapters import adapter_of, parameters_of
from segue.processors.payloads.values import adapter_for, jsonable, values_of
from segue.processors.routing.circuit_breaker import Circuits
from segue.processors.routing.pricing import Price
from segue.processors.routing.rate_limits import Limit
from segue.processors.routing.routes import (
    AnyRoute,
    LoneTool,
    ModelRoute,
    Tool,
    ToolRoute,
    is_local,
    names_of,
    route_of,
    with_undos,
)
from segue.processors.workflow.parking import BUGS, check_bugs
from segue.processors.workflow.saga import Arguments
from segue.processors.workflow.task import BoundCheck, Task
from segue.topics.errors import BadInput, UnknownName
from segue.topics.parts import ABSENT, Budget

if TYPE_CHECKING:
    from segue.processors.agents.durable import Durable
    from segue.processors.app.schedules import Schedule
    from segue.processors.workflow.execution import Performance

P = ParamSpec("P")
I = TypeVar("I")  # noqa: E741 - input
O = TypeVar("O")  # noqa: E741 - output
T = TypeVar("T")

OURS = "segue."
"""How the names of workflows and tools begin that every app has."""


@dataclass(frozen=True)
class Workflow(Generic[I, O]):
    """A plain async function that orchestrates. A task keeps the `version` that it began with."""

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
        """An input as JSON, or the default if it is `ABSENT`. Raises `BadInput` if JSON can't hold it."""
        value = self.default if value is ABSENT else value
        return values_of(self.input).write_as_given(value) if self.takes_input else jsonable(value)

    def validate(self, value: Any) -> Any:
        """What its type makes of an input from outside, as JSON. Raises `ValidationError` or `BadInput`."""
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


class Declares(Protocol):
    """Makes a workflow of a function, with what was said of it."""

    @overload
    def __call__(self, function: Callable[[Task], Awaitable[O]], /) -> Workflow[None, O]: ...
    @overload
    def __call__(self, function: Callable[[Task, I], Awaitable[O]], /) -> Workflow[I, O]: ...


@overload
def workflow(function: Callable[[Task], Awaitable[O]], /) -> Workflow[None, O]: ...
@overload
def workflow(function: Callable[[Task, I], Awaitable[O]], /) -> Workflow[I, O]: ...
@overload
def workflow(
    *,
    name: str | None = None,
    version: int = 1,
    budget: Budget | None = None,
    bugs: tuple[type[Exception], ...] = BUGS,
) -> Declares: ...
def workflow(
    function: Any = None,
    /,
    *,
    name: str | None = None,
    version: int = 1,
    budget: Budget | None = None,
    bugs: tuple[type[Exception], ...] = BUGS,
) -> Any:
    """Declare `async def run(task: Task, input: I) -> O` to be a workflow: its awaits survive any crash.

    Input and output travel as JSON, by their annotations. Keep an old version beside the new one while
    tasks of it are open: `@workflow(name="book_trip", version=2)`. What a task of it may use: `budget`.

    Of an exception that it does not catch a task fails; of one in `bugs` it waits for mended code.
    """

    def declare(function: Callable[..., Awaitable[Any]]) -> Workflow[Any, Any]:
        if not inspect.iscoroutinefunction(function):
            raise BadInput(f"workflow {function.__name__!r} must be an async function")
        if not _takes_a_task(function):
            raise BadInput(f"workflow {function.__name__!r} must take a Task and at most one input")
        check_bugs(function.__name__, bugs)
        return Workflow(function, name or function.__name__, version, budget, bugs)

    return declare(function) if function is not None else declare


def _takes_a_task(function: Callable[..., Any]) -> bool:
    """As far as can be seen: annotations may be missing, or not be looked up yet."""
    annotations = [parameter.annotation for parameter in inspect.signature(function).parameters.values()]
    if len(annotations) not in (1, 2):
        return False
    first = annotations[0]
    return not isinstance(first, type) or first is inspect.Parameter.empty or issubclass(Task, first)


ANYTHING: TypeAdapter[Any] = adapter_for(Any)


@dataclass(frozen=True)
class Check(Generic[T, P]):
    """A function that accepts an output by returning, refuses it by raising `Refused`. Made by `@check`."""

    function: Callable[..., Any]
    name: str

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> BoundCheck[T]:
        """The check with its arguments, for `task.model(..., check=…)`."""
        arguments = inspect.signature(self.function).bind_partial(None, *args, **kwargs).arguments
        first, *_ = arguments
        del arguments[first]
        return BoundCheck(self.name, dict(arguments))

    @cached_property
    def signature(self) -> inspect.Signature:
        return inspect.signature(self.function)

    @cached_property
    def parameters(self) -> Mapping[str, TypeAdapter[Any]]:
        """What the output and each bound argument must be; the output is the first."""
        return parameters_of(self.function)

    def arguments(self, bound: Mapping[str, Any]) -> dict[str, Any]:
        """The bound arguments as JSON; one that the function does not take is told of where it is called."""
        known = self.parameters
        return {
            name: as_data(
                values_of(known[name]).write_as_given(value) if name in known else jsonable(value), value
            )
            for name, value in bound.items()
        }


def check(function: Callable[Concatenate[T, P], Any], /) -> Check[T, P]:
    """Declare `def only_known(output: Ranking, known: list[str]) -> None` to be a check (async if you like).

    It runs in the check stage, where its arguments arrive as JSON. Use it with them:
    `task.model("rank", …, output=Ranking, check=only_known(known=ids))`.
    """
    return Check(function, function.__name__)


@dataclass(frozen=True)
class Service:
    """A process that `segue dev` starts beside the app. The URL `ready` is polled until it answers 200."""

    name: str
    command: tuple[str, ...]
    ready: str | None = None
    env: Mapping[str, str] = field(default_factory=dict[str, str])


class NamedAgent(Protocol):
    """A Pydantic AI `Agent` with the capability `Durable`."""

    @property
    def name(self) -> str | None: ...


class App:
    """All that a worker can be asked for. `segue worker travel` finds the module's one `App`.

    `notice` is a sentence that `segue dev` shows at start: what an example does without a key, say.
    `sample` is the workflow and input that `segue dev` runs when none is given. `prices` are of models, by
    the candidate's name or the model's own, where the public price list has none, or another.

    `limits` are by the name of a candidate, route or MCP server, `{"openai:gpt-5": Limit(per_minute=60)}`;
    with `circuits` a candidate that fails is left alone for a while. Both hold over all workers.
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
        schedules: Iterable["Schedule"] = (),
        services: Iterable[Service] = (),
        prices: Mapping[str, Price] | None = None,
        limits: Mapping[str, Limit] | None = None,
        circuits: Circuits | None = None,
        notice: str | None = None,
        sample: tuple[Workflow[Any, Any], Any] | None = None,
    ) -> None:
        self.name = name
        keeper, clock = _of_schedules()
        self.workflows = _by("workflow", [*workflows, keeper], lambda w: (w.name, w.version))
        self.schedules = _by("schedule", schedules, lambda s: s.name)
        self.agents: dict[str, Durable[Any]] = _by("agent", map(_durable, agents), lambda a: a.name)
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
        self.circuits = circuits
        self._check_limits()
        check_app(self)
        self.notice = notice
        self.sample = sample

    def _check_limits(self) -> None:
        known = _counted(self.routes.values())
        if unknown := sorted(self.limits.keys() - known):
            raise BadInput(
                f"a limit for {unknown[0]!r}: that is no candidate, route or MCP server of app "
                f"{self.name!r}; there are: {', '.join(sorted(known))}"
            )
        if limited := sorted(self.limits.keys() & self.local):
            raise BadInput(
                f"a limit for {limited[0]!r}, which is local: limits hold in the stage `tool`, so take away "
                "one or the other"
            )

    def limits_of(self, kind: str) -> dict[str, Limit]:
        """Those that calls of this kind, `model` or `tool`, count in."""
        counted = _counted(route for route in self.routes.values() if route.kind == kind)
        return {name: limit for name, limit in self.limits.items() if name in counted}

    def workflow(self, name: str, version: int | None = None) -> Workflow[Any, Any]:
        """The workflow of that name and version; without a version the newest. Raises `UnknownName`."""
        if version is not None and (found := self.workflows.get((name, version))) is not None:
            return found
        versions = [v for n, v in self.workflows if n == name]
        if not versions:
            known = ", ".join(sorted({n for n, _ in self.workflows if not n.startswith(OURS)}))
            raise UnknownName(f"no workflow {name!r} here; there are: {known}")
        if version is not None:
            raise UnknownName(
                f"workflow {name!r} has no version {version} here; there are: {sorted(versions)}"
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

    def observed(self, performance: "Performance", workflow: Awaitable[Any]) -> Awaitable[Any]:
        """The workflow, whose agents report their spans and metrics once."""
        if not self.agents:
            return workflow
        from segue.processors.agents.telemetry import reported_once  # noqa: PLC0415 - as in `_durable`

        return reported_once(performance, workflow)

    def check(self, name: str) -> Check[Any, ...]:
        if name not in self.checks:
            raise UnknownName(f"no check {name!r} in app {self.name!r}: add it to its checks")
        return self.checks[name]


def _of_schedules() -> tuple[Workflow[Any, Any], Tool[..., Any]]:
    """The workflow of schedules, and its tool: any app may be told of a schedule."""
    from segue.processors.app.schedules import clock, keeper  # noqa: PLC0415 - it is declared by what stands here

    return keeper, clock


def _durable(agent: NamedAgent) -> "Durable[Any]":
    """Imported here, for Pydantic AI is large; whoever has an agent has loaded it already."""
    from segue.processors.agents.durable import durable_of  # noqa: PLC0415

    return durable_of(agent)


K = TypeVar("K")
V = TypeVar("V")


def _counted(routes: Iterable[AnyRoute]) -> set[str]:
    return {name for route in routes for i in range(len(route.names)) for name in names_of(route, i)}


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
