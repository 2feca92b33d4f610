"""What answers in place of models and tools, by the name of a route or of one of its candidates.

    a value                      the answer, whenever it is asked for
    a function                   called as the tool would be; for a model with its prompt, for an agent's with
                                 its messages. Sync or async
    an exception                 raised
    `in_turn(…)`                 one of these after the other, an attempt each
    a Pydantic AI `Model`        asked as the real one would be
    a Pydantic AI toolset        in place of an agent's MCP server

What a test got wrong, a name or a stand-in that can't be called, is no failure of the attempt, which the
workflow might catch: it is kept as `fault`, for whoever plays to raise.
"""

import inspect
from collections.abc import Callable, Iterator, Mapping
from copy import copy
from dataclasses import dataclass, replace
from typing import Any, Literal

from segue.processors.app.app import App
from segue.processors.definitions.workflow import OURS
from segue.processors.routing.routes import ModelRoute, ToolCandidate, ToolRoute
from segue.processors.routing.tools import Tool
from segue.streams.executors.current import serve_as_current
from segue.topics.errors import BadInput, SegueError
from segue.topics.records import CallModel, CallTool

AnyCall = CallModel | CallTool
Kind = Literal["model", "tool"]


@dataclass(frozen=True)
class InTurn:
    outcomes: tuple[Any, ...]


def in_turn(*outcomes: Any) -> InTurn:
    """Outcomes one after the other, an attempt each: `in_turn(TimeoutError(), TimeoutError(), BOOKING)`.

    Each is what a stand-in may be. An attempt that is made again after a crash comes to the same.
    """
    return InTurn(outcomes)


class StandIns:
    """Those of one rehearsal. Calls are served one at a time: see `segue.streams.testing.in_memory_calls`."""

    def __init__(self, app: App, models: Mapping[str, Any], tools: Mapping[str, Any]) -> None:
        self._given: dict[Kind, Mapping[str, Any]] = {"model": models, "tool": tools}
        self._turns: dict[str, dict[str, int]] = {}
        self._serving: tuple[AnyCall, str] | None = None
        self.fault: SegueError | None = None
        self.ensure_known(app)

    def ensure_known(self, app: App) -> None:
        """Raises `BadInput` for a name that is none of the app's."""
        for kind, given in self._given.items():
            names = sorted(set(_names(app, kind)))
            for name in given:
                if name not in names:
                    raise BadInput(
                        f"the app has no {kind} {name!r} to replace: choose one of "
                        f"{', '.join(names) or 'none'}"
                    )

    def find(self, kind: Kind, route: str, by: str) -> str | None:
        """The name under which something was given for the candidate, or for its whole route."""
        given = self._given[kind]
        return next((name for name in (by, route) if name in given), None)

    def serve(self, call: AnyCall, by: str) -> None:
        """From now on outcomes are those of this call."""
        self._serving = (call, by)

    @property
    def serving(self) -> tuple[AnyCall, str]:
        assert self._serving is not None
        return self._serving

    # ------------------------------------------------------------ outcomes

    async def outcome(self, *args: Any, **arguments: Any) -> Any:
        """What the call that is served comes to; a `Model` or a toolset as it is."""
        call, by = self.serving
        serve_as_current(call)
        name = self.find(kind_of(call), call.route, by)
        if name is None:
            raise self.missing()
        given = self._given[kind_of(call)][name]
        if isinstance(given, InTurn):
            given = self._next(name, given)
        if isinstance(given, BaseException):
            raise given.with_traceback(None)
        if inspect.isclass(given) and issubclass(given, BaseException):
            raise given
        return await self._called(name, given, args, arguments) if callable(given) else given

    def _next(self, name: str, given: InTurn) -> Any:
        """The attempts that have had their turn keep it, should a crash have them made again."""
        call, _ = self.serving
        turns = self._turns.setdefault(name, {})
        turn = turns.setdefault(f"{call.idempotency_key}/{call.attempt}", len(turns))
        if turn >= len(given.outcomes):
            raise self._wrong(
                f"{kind_of(call)} {name!r} has {turn} outcomes, in_turn(…), and is called once more: give it "
                "another outcome, or a function"
            )
        return given.outcomes[turn]

    async def _called(self, name: str, given: Callable[..., Any], args: Any, arguments: Any) -> Any:
        try:
            inspect.signature(given).bind(*args, **arguments)
        except TypeError as error:
            what = ", ".join(arguments) or "what it is asked"
            raise self._wrong(f"the fake for {name!r} can't be called with {what}: {error}") from None
        returned: Any = given(*args, **arguments)
        return await returned if inspect.isawaitable(returned) else returned

    # ------------------------------------------------------------ what a test got wrong

    def missing(self) -> SegueError:
        call, by = self.serving
        kind = kind_of(call)
        whose = "" if by == call.route else f" of route {call.route!r}"
        return self._wrong(
            f"{kind} {by!r}{whose} has no stand-in, and a rehearsal does not reach out of this process: "
            f"say what it answers, Rehearsal(app, {kind}s={{{call.route!r}: …}})"
        )

    def _wrong(self, message: str) -> SegueError:
        self.fault = BadInput(message)
        return self.fault

    # ------------------------------------------------------------ in their places

    def shadow_tools(self, app: App) -> App:
        """The app with the stand-ins among its tools, under the names of those that they replace."""
        shadow = copy(app)
        shadow.routes = {
            name: route if isinstance(route, ModelRoute) else self._shadowed(route)
            for name, route in app.routes.items()
        }
        return shadow

    def _shadowed(self, route: ToolRoute[Any]) -> ToolRoute[Any]:
        return replace(route, candidates=[self._tool(route, each) for each in route.candidates])

    def _tool(self, route: ToolRoute[Any], candidate: ToolCandidate) -> ToolCandidate:
        """A tool that is called by the arguments of the real one, and answers by its output."""
        if not isinstance(candidate, Tool) or self.find("tool", route.name, candidate.name) is None:
            return candidate
        made = replace(candidate, function=self.outcome)
        for read in ("signature", "parameters", "output"):
            made.__dict__[read] = getattr(candidate, read)
        return made


def kind_of(call: AnyCall) -> Kind:
    return "model" if isinstance(call, CallModel) else "tool"


def _names(app: App, kind: Kind) -> Iterator[str]:
    for route in app.routes.values():
        if route.kind == kind and not route.name.startswith(OURS):
            yield from (route.name, *route.names)
