"""What an app declares is resolved when it is made, and refused there with its place."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from datetime import date
from typing import TYPE_CHECKING, Annotated, Any, cast

import pytest
from pydantic import BaseModel, Field, SecretStr
from pydantic_ai import Agent
from pydantic_ai.models.test import TestModel

from segue.agents import Durable
from segue.processors.app.app import App
from segue.processors.app.decorators import check, workflow
from segue.processors.app.schedules import Schedule
from segue.processors.routing.mcp import McpServer
from segue.processors.routing.routes import ModelRoute, ToolRoute
from segue.processors.routing.selection import cheapest
from segue.processors.routing.tools import tool
from segue.topics.errors import BadInput
from tests.driver import Driver

if TYPE_CHECKING:
    from fractions import Fraction as Order

    from segue.processors.workflow.task import Task

HERE = __file__


class Plain:
    """No type that JSON has."""


class Unfinished(BaseModel):
    at: Nowhere  # type: ignore[name-defined]  # noqa: F821  # pyright: ignore[reportUndefinedVariable]


class Around(BaseModel):
    inner: list[Unfinished]


@dataclass
class UnfinishedData:
    at: Nowhere  # type: ignore[name-defined]  # noqa: F821  # pyright: ignore[reportUndefinedVariable]


class Hostile:
    @classmethod
    def __get_pydantic_core_schema__(cls, *_: Any) -> Any:
        raise SystemExit("no schema")


# ---------------------------------------------------------------- workflows


@workflow
async def takes_order(task: Task, order: Order) -> None: ...


@workflow
async def gives_order(task: Task) -> Order: ...  # type: ignore[empty-body]


@workflow
async def takes_plain(task: Task, given: Plain) -> None: ...


@workflow
async def takes_unfinished(task: Task, given: Unfinished) -> None: ...


@workflow
async def takes_around(task: Task, given: dict[str, Around]) -> None: ...


@workflow
async def takes_data(task: Task, given: UnfinishedData) -> None: ...


@workflow
async def takes_hostile(task: Task, given: Hostile) -> None: ...


@workflow  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType, reportCallIssue]
async def by_name(*, task: Task) -> None: ...


@workflow
async def several(task: Task, *given: int) -> None: ...


@workflow
async def others(task: Task, **given: int) -> None: ...


@workflow
async def no_default(task: Task, given: int = cast("Any", None)) -> None: ...


@workflow
async def secret_default(task: Task, *, given: Any = SecretStr("x")) -> None: ...  # noqa: B008


@pytest.mark.parametrize(
    ("declared", "what", "advice"),
    [
        (no_default, "the default None of workflow 'no_default' does not fit", "int | None does for None"),
        (secret_default, "does not fit its annotation: a secret can't be sent", "give another default"),
        (takes_order, "parameter 'order' is annotated 'Order'", "outside of `if TYPE_CHECKING:`"),
        (gives_order, "what it returns is annotated 'Order'", "outside of `if TYPE_CHECKING:`"),
        (takes_plain, "parameter 'given' is annotated 'Plain'", "use a pydantic model"),
        (takes_unfinished, "parameter 'given' is annotated 'Unfinished'", "'Nowhere' is not defined"),
        (takes_around, "parameter 'given'", "'Nowhere' is not defined"),
        (takes_data, "parameter 'given'", "'Nowhere' is not defined"),
        (takes_hostile, "parameter 'given'", "no schema"),
        (by_name, "parameter 'task'", "its task as a positional argument, and at most one input"),
        (several, "parameter '*given'", "its task as a positional argument, and at most one input"),
        (others, "parameter '**given'", "its task as a positional argument, and at most one input"),
    ],
    ids=lambda each: getattr(each, "name", ""),
)
def test_a_workflow_whose_values_can_not_travel_is_refused(declared: Any, what: str, advice: str) -> None:
    with pytest.raises(BadInput) as refused:
        App("x", workflows=[declared])
    told = str(refused.value)
    line = declared.function.__code__.co_firstlineno
    assert told.startswith(f"{HERE}:{line}, in {__name__}.{declared.name}: ")
    assert what in told
    assert advice in told


def test_what_only_a_type_checker_needs_may_be_out_of_reach() -> None:
    @workflow
    async def run(task: Task, when: date) -> str:
        return f"{when:%d}"

    driver = Driver(App("x", workflows=[run]))
    driver.submit("run", "2027-01-03")
    driver.run()
    assert driver.result().result == "03"


# ---------------------------------------------------------------- tools, routes, checks


@tool
async def ships(order: Order) -> None: ...


@tool
async def orders() -> Order: ...  # type: ignore[empty-body]


@tool
async def fits(n: int) -> Plain: ...  # type: ignore[empty-body]


@tool(undo=ships)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
async def is_undone(n: int) -> int:
    return n


@pytest.mark.parametrize("declared", [ships, orders, fits, is_undone], ids=lambda each: each.name)
def test_a_tool_whose_values_can_not_travel_is_refused(declared: Any) -> None:
    routes = [ToolRoute("r", [declared], undo=declared.undo)]
    declarations: list[dict[str, Any]] = [{"tools": [declared]}, {"routes": routes}]
    for options in declarations:
        with pytest.raises(BadInput, match=r"test_declarations.py:\d+, in ") as refused:
            App("x", workflows=[], **options)
        assert declared.name in str(refused.value) or ships.name in str(refused.value)


def test_the_output_of_a_route_is_resolved() -> None:
    @tool
    async def any_tool(n: int) -> int:
        return n

    for output in (Plain, Unfinished, list["Nowhere"]):  # type: ignore[name-defined]  # noqa: F821  # pyright: ignore
        with pytest.raises(BadInput, match="route 'r': output is"):
            App("x", workflows=[], routes=[ToolRoute("r", [any_tool], output=output)])


@check
def of_order(output: str, order: Order) -> None: ...


@check  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType, reportCallIssue]
def of_nothing() -> None: ...


@check
def of_places(output: str, n: int, /) -> None: ...


@check
def of_several(output: str, *n: int) -> None: ...


UNCALLABLE: list[tuple[Any, str]] = [
    (of_order, "parameter 'order' is annotated 'Order'"),
    (of_nothing, "has no parameter for the output"),
    (of_places, "passed by name"),
    (of_several, "passed by name"),
]


@pytest.mark.parametrize(
    ("declared", "told"),
    UNCALLABLE,
    ids=lambda each: getattr(each, "name", ""),
)
def test_a_check_that_can_not_be_called_is_refused(declared: Any, told: str) -> None:
    with pytest.raises(BadInput, match=r"test_declarations\.py") as refused:
        App("x", workflows=[], checks=[declared])
    assert told in str(refused.value)


def takes_three(asked: Any, known: Any, more: Any) -> str:
    return "a"


@pytest.mark.parametrize(
    ("choose", "told"),
    [
        (lambda: "a", "def choose(asked, known)"),
        (takes_three, "def choose(asked, known)"),
        ("cheapest", "must be a function that is not async"),
        (cheapest, "def choose(asked, known)"),
    ],
)
def test_a_chooser_that_can_not_be_called_is_refused(choose: Any, told: str) -> None:
    with pytest.raises(BadInput) as refused:
        App("x", workflows=[], routes=[ModelRoute("r", ["a"], choose=choose)])
    assert told in str(refused.value)


async def chooses_later(asked: Any, known: Any) -> str:
    return "a"


def test_a_chooser_that_would_have_to_be_awaited_is_refused() -> None:
    choose: Any = chooses_later
    with pytest.raises(BadInput, match="must be a function that is not async"):
        App("x", workflows=[], routes=[ModelRoute("r", ["a"], choose=choose)])


# ---------------------------------------------------------------- schedules, agents, names


@workflow
async def nightly(task: Task, n: Annotated[int, Field(gt=0)]) -> None: ...


@pytest.mark.parametrize("given", [None, "x", 0, Plain(), b"\xff", float("nan")], ids=type)
def test_a_schedule_whose_input_does_not_fit_is_refused(given: Any) -> None:
    with pytest.raises(BadInput, match="schedule 's': "):
        App("x", workflows=[nightly], schedules=[Schedule("s", nightly, cron="0 3 * * *", input=given)])


def test_a_schedule_of_a_workflow_that_the_app_lacks_is_refused() -> None:
    with pytest.raises(BadInput, match="schedule 's': this app has no workflow 'nightly'"):
        App("x", workflows=[], schedules=[Schedule("s", nightly, cron="0 3 * * *", input=3)])


def test_an_agent_whose_deps_can_not_travel_is_refused() -> None:
    agent = Agent(TestModel(), name="guide", deps_type=Plain, capabilities=[Durable[Any]()])
    with pytest.raises(BadInput, match="agent 'guide': deps_type is"):
        App("x", workflows=[], agents=[agent])


def test_an_undo_that_has_the_name_of_another_tool_is_refused() -> None:
    @tool(name="cancel")
    async def cancel_one() -> None: ...

    @tool(name="cancel")
    async def cancel_other() -> None: ...

    @tool(undo=cancel_one)
    async def book(n: int) -> int:
        return n

    with pytest.raises(BadInput, match="'cancel' is the undo of 'book', but another tool or route"):
        App("x", workflows=[], tools=[book, cancel_other])
    App("x", workflows=[], tools=[book, cancel_one])


@pytest.mark.parametrize("name", [3, "", "a\nb", ["x"], "\ud800"], ids=repr)
def test_a_name_is_text(name: Any) -> None:
    with pytest.raises(BadInput, match="a name must be printable text"):
        App("x", workflows=[], routes=[ModelRoute(name, ["a"])])
    if name:
        with pytest.raises(BadInput, match="a name must be printable text"):
            App("x", workflows=[workflow(name=name)(nightly.function)])


def test_a_decorated_function_is_told_by_its_own_place() -> None:
    @functools.wraps(takes_order.function)
    async def wrapped(*args: Any) -> None: ...

    with pytest.raises(
        BadInput, match=r"in tests\.processors\.test_declarations\.takes_order: parameter 'order'"
    ):
        App("x", workflows=[workflow(name="w")(wrapped)])


@pytest.mark.parametrize("command", ["python -m server", ("python", 3)])
def test_the_command_of_an_mcp_server_is_words(command: Any) -> None:
    with pytest.raises(BadInput, match="its command must be a tuple of words"):
        McpServer("hotels", command)


def test_the_command_of_an_mcp_server_may_be_a_list() -> None:
    command: Any = ["python", "-m", "server"]
    assert len({McpServer("hotels", command), McpServer("hotels", tuple(command))}) == 1


@pytest.mark.parametrize("said", [{"version": "2"}, {"version": 0}, {"budget": 3}])
def test_a_version_is_a_number_and_a_budget_a_budget(said: dict[str, Any]) -> None:
    with pytest.raises(BadInput, match="workflow 'nightly': "):
        App("x", workflows=[workflow(**said)(nightly.function)])
