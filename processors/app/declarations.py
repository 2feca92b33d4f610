"""Checks what an app declares when it is made: what would fail at each task is refused with its place.

A worker that starts with a workflow whose input has no JSON turns each of its tasks into a failure, long
after the one who wrote it has looked away.
"""

import inspect
from collections.abc import Callable, Iterable, Mapping
from typing import Any, cast

from pydantic import TypeAdapter, ValidationError

from segue.processors.app.schedules import Schedule
from segue.processors.definitions.checks import Check
from segue.processors.definitions.registry import Registry
from segue.processors.definitions.workflow import Workflow
from segue.processors.payloads.type_adapters import complete, place_of, why_unusable
from segue.processors.routing.routes import AnyRoute, ModelRoute, ToolRoute
from segue.processors.routing.selection import name_of
from segue.processors.routing.tools import Tool
from segue.topics.codec import describe, explain, json_of
from segue.topics.descriptions import text_of
from segue.topics.errors import BadInput, UnknownName
from segue.topics.parts import ABSENT, Budget

UNNAMED = {
    inspect.Parameter.POSITIONAL_ONLY: "is for a place alone",
    inspect.Parameter.VAR_POSITIONAL: "takes any number of values",
    inspect.Parameter.VAR_KEYWORD: "takes any number of values",
}
"""Kinds of parameters that no argument by name reaches."""


def check_app(app: Registry, deps_types: Mapping[str, Any], schedules: Iterable[Schedule]) -> None:
    """Raises `BadInput` for the first declaration that can't be used."""
    for workflow in app.workflows.values():
        check_workflow(workflow)
    for route in app.routes.values():
        check_route(route)
    for check in app.checks.values():
        check_check(check)
    for name, deps_type in deps_types.items():
        _check_type(f"agent {name!r}: deps_type", deps_type)
    for schedule in schedules:
        check_schedule(app, schedule)


def check_name(kind: str, name: object) -> None:
    if not isinstance(name, str) or not name.isprintable() or not name:
        raise BadInput(f"a {kind} is named {name!r}, but a name must be printable text")


def check_workflow(workflow: Workflow[Any, Any]) -> None:
    if type(workflow.version) is not int or workflow.version < 1:
        raise BadInput(
            f"workflow {workflow.name!r}: version={workflow.version!r} is not a whole number of at least 1"
        )
    if not isinstance(cast("object", workflow.budget), Budget | None):
        raise BadInput(
            f"workflow {workflow.name!r}: budget={workflow.budget!r} is not a Budget: give Budget(usd=…, "
            "tokens=…)"
        )
    first, *others = inspect.signature(workflow.function).parameters.values()
    refused = (first.VAR_KEYWORD, first.VAR_POSITIONAL)
    for parameter in (first, *others):
        if parameter.kind in (refused if parameter is not first else (*refused, first.KEYWORD_ONLY)):
            raise BadInput(
                f"{place_of(workflow.function)}: parameter {_spelled(parameter)!r} of workflow "
                f"{workflow.name!r} can't be filled: a workflow takes its task as a positional argument, "
                "and at most one input"
            )
    _ = workflow.input, workflow.output
    _check_default(workflow)


def _check_default(workflow: Workflow[Any, Any]) -> None:
    """A default is the input of a task that is started without one."""
    if not workflow.has_default:
        return
    try:
        workflow.arguments(workflow.recorded(ABSENT))
    except (ValidationError, BadInput) as error:
        raise BadInput(
            f"{place_of(workflow.function)}: the default {workflow.default!r:.200} of workflow "
            f"{workflow.name!r} does not fit its annotation: {explain(error)}: give another default, "
            "or an annotation that allows it, as int | None does for None"
        ) from None


def _spelled(parameter: inspect.Parameter) -> str:
    return str(parameter.replace(annotation=parameter.empty, default=parameter.empty))


def check_route(route: AnyRoute) -> None:
    if route.choose is not None:
        check_chooser(route)
    if isinstance(route, ModelRoute):
        return
    if route.output is not object:
        _check_type(f"route {route.name!r}: output", route.output)
    for tool in _tools(route):
        _ = tool.parameters, tool.output


def check_chooser(route: AnyRoute) -> None:
    choose: Any = route.choose
    where = f"route {route.name!r}: choose={name_of(choose)}"
    if not callable(choose) or inspect.iscoroutinefunction(choose):
        raise BadInput(
            f"{where} must be a function that is not async and takes the call and the "
            "candidates, such as cheapest()"
        )
    try:
        inspect.signature(choose).bind(None, None)
    except TypeError as error:
        raise BadInput(
            f"{where} must take the call and the candidates, as def choose(asked, known): {error}"
        ) from None
    except ValueError:
        return  # built in, without a signature


def _tools(route: ToolRoute[Any]) -> list[Tool[..., Any]]:
    """Its candidates and its undo, as far as they are functions."""
    declared: list[Any] = [*route.candidates, route.undo]
    return [each for each in declared if isinstance(each, Tool)]


def check_clashes(routes: Iterable[AnyRoute]) -> None:
    """A route that has the name of another tool's undo would be called in its place."""
    declared = list(routes)
    functions = {route.name: _function(route) for route in declared}
    for route in declared:
        undo: Any = getattr(route, "undo", None)
        if isinstance(undo, Tool) and functions.get(undo.name) not in (None, undo.function):
            raise BadInput(
                f"{undo.name!r} is the undo of {route.name!r}, but another tool or route has the same "
                f"name: rename one of them with @tool(name=…) at {place_of(undo.function)}"
            )


def _function(route: AnyRoute) -> Callable[..., Any] | None:
    """Of a route that is one tool. One that is more may have the undo among its candidates."""
    match route.candidates:
        case [Tool(function=function)]:
            return function
        case _:
            return None


def check_check(check: Check[Any, ...]) -> None:
    parameters = list(check.signature.parameters.values())
    place = place_of(check.function)
    if not parameters or parameters[0].kind in (
        inspect.Parameter.KEYWORD_ONLY,
        inspect.Parameter.VAR_KEYWORD,
    ):
        raise BadInput(
            f"{place}: check {check.name!r} has no parameter for the output: declare def "
            f"{check.name}(output: …) -> None"
        )
    for parameter in parameters[1:]:
        if parameter.kind in UNNAMED:
            raise BadInput(
                f"{place}: parameter {_spelled(parameter)!r} of check {check.name!r} "
                f"{UNNAMED[parameter.kind]}: the arguments of a check, except the output, are passed by "
                "name"
            )
    _ = check.parameters


def check_schedule(app: Registry, schedule: Schedule) -> None:
    """Its input is what each of its tasks would begin with."""
    where = f"schedule {schedule.name!r}"
    try:
        workflow = app.workflow(schedule.workflow.name, schedule.workflow.version)
        given = schedule.input
        json_of(workflow.validate(given if given is ABSENT else workflow.given(given)))
    except UnknownName as error:
        raise BadInput(f"{where}: {error}: add it to the app's workflows") from None
    except ValidationError as error:
        raise BadInput(
            f"{where}: its input does not fit workflow {schedule.workflow.name!r}: {describe(error)}"
        ) from None
    except (BadInput, ValueError) as error:
        raise BadInput(f"{where}: its input can't be read: {text_of(error)}") from None


def _check_type(where: str, kind: Any) -> None:
    try:
        complete(TypeAdapter(kind))
    except BaseException as error:
        raise BadInput(f"{where} is {kind!r}: {why_unusable(error)}") from error
