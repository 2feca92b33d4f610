"""What an agent can't do within a workflow is refused with a sentence that says what to do instead."""

import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from typing import Any

import pytest
from pydantic_ai import Agent, RunContext
from pydantic_ai.capabilities import AbstractCapability
from pydantic_ai.durable_exec import DurableRunContext
from pydantic_ai.exceptions import UserError
from pydantic_ai.mcp import MCPToolset
from pydantic_ai.models.function import FunctionModel
from pydantic_ai.models.test import TestModel
from pydantic_ai.tools import ToolDefinition
from pydantic_ai.toolsets import DynamicToolset, FunctionToolset
from pydantic_ai.usage import UsageLimits

from segue import BadInput, Policy, Task, workflow
from segue.agents import Durable
from segue.processors.app.app import App
from segue.testing import Rehearsal
from tests.agents import calls, played, scripted, text

ASKED = calls("look", {"at": "the sea"}), text("seen")


@dataclass
class Deps:
    place: str


@dataclass
class MoreDeps(Deps):
    key: str = "k"


def guide(*answers: Any, **options: Any) -> Agent[Any, Any]:
    durable = options.pop("durable", None) or Durable[Any]()
    return Agent(scripted(*(answers or (text("seen"),))), name="guide", capabilities=[durable], **options)


def problem_of(run: Callable[[Task], Awaitable[Any]], *agents: Agent[Any, Any]) -> tuple[str, str]:
    driver = played(run, *agents)
    assert driver.records("results") == []
    bug = driver.bug()
    return bug.type, bug.message


# ---------------------------------------------------------------- tools under other names


async def renamed(ctx: RunContext[Any], tool: ToolDefinition) -> ToolDefinition:
    return replace(tool, name="look")


@pytest.mark.parametrize("inline", [(), ("gaze",)])
def test_a_tool_that_prepare_renames_is_a_step_of_its_own_route(inline: tuple[str, ...]) -> None:
    policies = {"gaze": Policy(retries=0)}
    agent = guide(*ASKED, durable=Durable[Any](inline=inline, policies=policies))
    seen: list[str] = []

    def known(ctx: RunContext[Any], at: str) -> None:
        seen.append(at)

    @agent.tool_plain(prepare=renamed, args_validator=known)
    async def gaze(at: str) -> str:
        return f"saw {at}"

    async def run(task: Task) -> Any:
        return (await agent.run("go")).output

    driver = played(run, agent)
    assert driver.result().result == "seen", driver.result().problem
    routes = [call.route for call in driver.records("tool-calls")]
    assert routes == ([] if inline else ["guide.gaze", "guide.gaze"])
    assert set(seen) == {"the sea"}


def test_a_renamed_toolset_and_a_prefixed_one() -> None:
    tools = FunctionToolset[Any](id="eyes")

    @tools.tool_plain
    async def gaze(at: str) -> str:
        return f"saw {at}"

    toolset = tools.renamed({"look": "gaze"}).prefixed("my")
    agent = guide(calls("my_look", {"at": "the sea"}), text("seen"), toolsets=[toolset])

    async def run(task: Task) -> Any:
        return (await agent.run("go")).output

    driver = played(run, agent)
    assert driver.result().result == "seen", driver.result().problem
    assert [call.route for call in driver.records("tool-calls")] == ["guide.gaze"]


# ---------------------------------------------------------------- deps


def with_deps(
    deps: Any, **options: Any
) -> tuple[Callable[[Task], Awaitable[Any]], Agent[Any, Any], list[Any]]:
    agent = guide(*ASKED, **options)
    got: list[Any] = []

    @agent.tool
    async def look(ctx: RunContext[Any], at: str) -> str:
        assert isinstance(ctx, DurableRunContext)
        got.append(ctx.deps)
        return at

    async def run(task: Task) -> Any:
        return (await agent.run("go", deps=deps)).output

    return run, agent, got


@pytest.mark.parametrize(
    ("deps", "options"),
    [
        (Deps("Faro"), {"deps_type": Deps}),
        (MoreDeps("Faro"), {"deps_type": MoreDeps}),
        ({"place": "Faro"}, {"deps_type": dict[str, str]}),
        ({"place": ["Faro", 1, None]}, {}),
        ("Faro", {}),
        (None, {}),
        (None, {"deps_type": Deps | None}),
    ],
)
def test_deps_arrive_as_they_were_given(deps: Any, options: dict[str, Any]) -> None:
    run, agent, got = with_deps(deps, **options)
    driver = played(run, agent, crashes={5: 0, 9: 0})
    assert driver.result().result == "seen", driver.result().problem
    assert all(each == deps and type(each) is type(deps) for each in got)
    assert got


@pytest.mark.parametrize(
    ("deps", "options", "says"),
    [
        (Deps("Faro"), {}, r"deps of type dict, not Deps.*Agent\(…, deps_type=Deps\)"),
        (("Faro", 1), {}, r"deps of type list, not tuple"),
        (MoreDeps("Faro"), {"deps_type": Deps}, r"deps of type Deps, not MoreDeps"),
        (object(), {}, r"can't be sent as JSON"),
        (
            Deps(3),  # type: ignore[arg-type]
            {"deps_type": Deps},
            r"its deps do not have the type of deps_type: place: Input should be a valid string",
        ),
    ],
)
def test_deps_that_would_arrive_as_something_else_are_refused(
    deps: Any, options: dict[str, Any], says: str
) -> None:
    run, agent, got = with_deps(deps, **options)
    kind, message = problem_of(run, agent)
    assert kind == "BadInput"
    assert re.search(says, message), message
    assert got == []


# ---------------------------------------------------------------- models


def test_a_run_may_be_given_another_model_that_the_agent_knows() -> None:
    small = FunctionModel(lambda messages, info: text("small"), model_name="small")
    agent = guide(durable=Durable[Any](models={"small": small}))

    async def run(task: Task) -> list[str]:
        by_name = await agent.run("go", model="small")
        with agent.override(model=small):
            by_override = await agent.run("go")
        return [by_name.output, (await agent.run("go", model=small)).output, by_override.output]

    driver = played(run, agent, crashes={3: 0, 7: 0, 11: 0})
    assert driver.result().result == ["small"] * 3, driver.result().problem


def test_a_model_that_the_agent_does_not_know_is_a_bug() -> None:
    agent = guide()

    async def run(task: Task) -> Any:
        return (await agent.run("go", model=scripted(text("another")))).output

    kind, message = problem_of(run, agent)
    assert kind == "UserError"
    assert "Register the instance in `models=` on `Durable`" in message


def test_counting_tokens_before_a_request_is_refused() -> None:
    agent = guide()
    limits = UsageLimits(input_tokens_limit=100, count_tokens_before_request=True)

    async def run(task: Task) -> Any:
        return (await agent.run("go", usage_limits=limits)).output

    kind, message = problem_of(run, agent)
    assert kind == "BadInput"
    assert "count_tokens_before_request can't be used in a workflow" in message


def test_an_override_around_a_rehearsal_is_refused() -> None:
    agent: Agent[Any, Any] = Agent("openai:gpt-5-mini", name="guide", capabilities=[Durable()])

    @workflow
    async def ask(task: Task) -> Any:
        return (await agent.run("go")).output

    app = App("one", workflows=[ask], agents=[agent])
    overridden = r"agent 'guide' is overridden here \(model\).*Rehearsal\(app, models={'guide': …}\)"
    with agent.override(model=TestModel()), Rehearsal(app) as play, pytest.raises(BadInput, match=overridden):
        play.start("ask")
    with Rehearsal(app, models={"guide": TestModel(custom_output_text="in its place")}) as play:
        play.start("ask")
        with agent.override(instructions="short"), pytest.raises(BadInput, match="overridden"):
            play.result()
        assert play.result() == "in its place"


# ---------------------------------------------------------------- names and ids


class Tools(AbstractCapability[Any]):
    def get_toolset(self) -> FunctionToolset[Any]:
        tools = FunctionToolset[Any]()
        tools.add_function(lambda at: at, name="look")
        return tools


def bare(ctx: RunContext[Any]) -> None:
    return None


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"name": None}, "needs to have a unique `name`"),
        ({"model": None}, "needs to have a `model`"),
        ({"toolsets": [FunctionToolset()]}, r"need to have a unique `id`.*FunctionToolset\(id=...\)"),
        ({"toolsets": [MCPToolset("https://a.example/mcp")]}, r"need to have a unique `id`.*MCPToolset"),
        ({"toolsets": [DynamicToolset(lambda ctx: None)]}, r"unique `id`.*DynamicToolset\(id=...\)"),
        (
            {"toolsets": [FunctionToolset(id="a"), FunctionToolset(id="a")]},
            "Two toolsets have the same `id` 'a'",
        ),
        ({"capabilities": [Tools(), Durable()]}, "set the capability's `id`"),
        ({"capabilities": [bare, Durable()]}, r"DynamicCapability\(my_func, id='...'\)"),
        ({"capabilities": [Durable(), Durable()]}, "durable execution engine"),
    ],
)
def test_what_has_no_name_is_refused_where_the_agent_is_built(options: dict[str, Any], says: str) -> None:
    built: dict[str, Any] = {"model": scripted(), "name": "guide", "capabilities": [Durable()], **options}
    with pytest.raises(UserError, match=f"(?s){says}"):
        Agent(built.pop("model"), **built)


def test_two_agents_of_one_name_are_refused() -> None:
    with pytest.raises(BadInput, match="two agents named 'guide'"):
        App("one", workflows=[], agents=[guide(), guide()])


def test_an_agent_that_the_app_does_not_know_is_refused() -> None:
    agent = guide()

    async def run(task: Task) -> Any:
        return (await agent.run("go")).output

    assert problem_of(run) == ("BadInput", "the app has no agent 'guide': add it with App(…, agents=[…])")
