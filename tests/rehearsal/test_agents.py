"""Agents of Pydantic AI in a rehearsal: models and servers are stood in for, functions run."""

# A stand-in is often a lambda, whose parameters have no types.
# pyright: reportUnknownLambdaType=false, reportUnknownArgumentType=false, reportUnknownMemberType=false

from typing import Any

import pytest
from fastmcp.client.transports import StdioTransport
from pydantic import BaseModel
from pydantic_ai import Agent, ModelRetry
from pydantic_ai.mcp import MCPToolset
from pydantic_ai.messages import ModelMessage, ModelResponse
from pydantic_ai.models.function import AgentInfo, FunctionModel
from pydantic_ai.models.test import TestModel
from pydantic_ai.toolsets import FunctionToolset

from segue import App, BadInput, Policy, Task, current_attempt, workflow
from segue.agents import Durable
from segue.testing import NoResult, Rehearsal, crash_everywhere, in_turn
from tests.agents import calls, scripted, text


class Place(BaseModel):
    name: str


def app(agent: Agent[Any, Any]) -> App:
    @workflow
    async def ask(task: Task, wish: str) -> Any:
        return (await agent.run(wish)).output

    return App("guides", workflows=[ask], agents=[agent])


def guide(model: Any = "openai:gpt-5-mini", **options: Any) -> Agent[Any, Any]:
    """Whose provider has no key here: it is never made."""
    durable = Durable[Any](policy=Policy(retries=0), fallbacks=options.pop("fallbacks", ()))
    agent: Agent[Any, Any] = Agent(model, name="guide", capabilities=[durable], **options)

    @agent.tool_plain
    async def look(at: str) -> str:
        return f"{at} by {current_attempt().idempotency_key}"

    return agent


@pytest.fixture(autouse=True)
def _no_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)


def test_an_agents_model_is_stood_in_for_and_its_tools_run() -> None:
    model = in_turn(calls("look", {"at": "the sea"}), lambda messages: messages[-1].parts[0].content)
    with Rehearsal(app(guide()), models={"guide": model}) as play:
        play.start("ask", "go", id="t")
        assert play.result() == "the sea by t/1"
        assert [(call.name, call.attempt) for call in play.calls()] == [
            ("guide", 1),
            ("guide.look", 1),
            ("guide", 1),
        ]


def test_models_of_pydantic_ai_stand_in_for_an_agents() -> None:
    def answer(messages: list[ModelMessage], info: AgentInfo) -> ModelResponse:
        return text(f"{len(info.function_tools)} tool")

    with Rehearsal(app(guide()), models={"guide": FunctionModel(answer)}) as play:
        play.start("ask", "go")
        assert play.result() == "1 tool"
    with Rehearsal(app(guide()), models={"guide": TestModel()}) as play:
        play.start("ask", "go", id="t")
        assert play.result() == '{"look":"a by t/1"}'


@pytest.mark.parametrize(
    ("output", "given"), [(Place, Place(name="Faro")), (list[int], [1, 2]), (int, 3), (str, "Faro")]
)
def test_an_agents_output_may_be_given_as_it_is(output: Any, given: Any) -> None:
    with Rehearsal(app(guide(output_type=output)), models={"guide": given}) as play:
        play.start("ask", "go")
        assert play.ended().result == (given.model_dump() if isinstance(given, Place) else given)


def test_a_spare_answers_where_the_agents_own_model_fails() -> None:
    models = {"openai:gpt-5-mini": RuntimeError("down"), "lab:small": "here"}
    with Rehearsal(app(guide(fallbacks=["lab:small"])), models=models) as play:
        play.start("ask", "go")
        assert play.result() == "here"


def test_an_agents_model_as_an_object_runs_or_is_stood_in_for() -> None:
    offline = app(guide(scripted(text("offline"))))
    with Rehearsal(offline) as play:
        play.start("ask", "go")
        assert play.result() == "offline"
    with Rehearsal(offline, models={"guide": "in its place"}) as play:
        play.start("ask", "go")
        assert play.result() == "in its place"
    with Rehearsal(offline) as play:
        play.start("ask", "go")
        assert play.result() == "offline"


def test_an_agents_function_may_be_stood_in_for() -> None:
    model = in_turn(*[calls("look", {"at": "the sea"})] * 2, lambda messages: messages[-1].parts[0].content)
    looked = in_turn(ModelRetry("look again"), lambda at: f"saw {at}")
    with Rehearsal(app(guide()), models={"guide": model}, tools={"guide.look": looked}) as play:
        play.start("ask", "go")
        assert play.result() == "saw the sea"


def hotels() -> MCPToolset[Any]:
    return MCPToolset(StdioTransport("false", []), id="hotels", include_instructions=True)


def test_an_agents_server_is_stood_in_for_by_a_toolset() -> None:
    async def find(place: str) -> list[str]:
        return [f"Sol in {place}"]

    model = in_turn(calls("find", {"place": "Faro"}), lambda messages: str(messages[-1].parts[0].content))
    tools = {"guide.hotels": FunctionToolset(tools=[find])}
    with Rehearsal(app(guide(toolsets=[hotels()])), models={"guide": model}, tools=tools) as play:
        play.start("ask", "go")
        assert play.result() == "['Sol in Faro']"


def test_what_has_no_stand_in_is_told() -> None:
    with Rehearsal(app(guide())) as play:
        play.start("ask", "go")
        with pytest.raises(BadInput, match="model 'openai:gpt-5-mini' of route 'guide' has no stand-in"):
            play.run()
    with Rehearsal(app(guide(toolsets=[hotels()])), models={"guide": "done"}) as play:
        play.start("ask", "go")
        with pytest.raises(BadInput, match=r"tool 'hotels.* of route 'guide.hotels' has no stand-in"):
            play.run()
    with pytest.raises(BadInput, match=r"no tool 'guide.loook' to replace: choose one of guide.look"):
        Rehearsal(app(guide()), tools={"guide.loook": 1})


def test_an_agent_is_crashed_everywhere() -> None:
    model = in_turn(calls("look", {"at": "the sea"}), "seen")

    def scenario(play: Rehearsal) -> None:
        play.start("ask", "go", id="t")
        assert play.result() == "seen"

    assert crash_everywhere(scenario, app(guide()), models={"guide": model}) > 10


def test_after_a_rehearsal_the_agent_is_what_it_was() -> None:
    agent = guide()
    with Rehearsal(app(agent), models={"guide": "seen"}) as play:
        play.start("ask", "go")
        play.run()
    durable = Durable[Any].from_agent(agent)
    assert durable is not None
    assert durable.stand_in is None


def test_an_agents_run_that_fails_is_told() -> None:
    with Rehearsal(app(guide()), models={"guide": RuntimeError("down")}) as play:
        play.start("ask", "go")
        with pytest.raises(NoResult, match="failed: guide: RuntimeError: down"):
            play.result()
