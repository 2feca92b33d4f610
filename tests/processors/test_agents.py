"""Agents inside of workflows: what they ask for is durable, wherever the workflow is crashed."""

import sys
from collections import Counter
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from fastmcp.client.transports import StdioTransport
from pydantic import BaseModel
from pydantic_ai import Agent, ModelRetry, RunContext
from pydantic_ai.mcp import MCPToolset
from pydantic_ai.messages import (
    BinaryContent,
    ModelMessage,
    ModelResponse,
    TextPart,
    ToolCallPart,
    ToolReturnPart,
)
from pydantic_ai.models.function import AgentInfo, FunctionModel

from segue import App, BadInput, Permanent, Policy, Task, current_attempt, workflow
from segue.agents import Durable
from tests.driver import Driver

SERVER = Path(__file__).parents[1] / "executors/servers/mcp_server.py"
CITIES = [f"city {number}" for number in range(8)]


class Climate(BaseModel):
    warmest: str
    degrees: int


def returned(messages: list[ModelMessage], tool: str) -> list[Any]:
    parts = [part for message in messages for part in message.parts]
    return [part.content for part in parts if isinstance(part, ToolReturnPart) and part.tool_name == tool]


def calls(tool: str, *arguments: dict[str, Any]) -> ModelResponse:
    return ModelResponse(parts=[ToolCallPart(tool, each) for each in arguments])


def explore(messages: list[ModelMessage], info: AgentInfo) -> ModelResponse:
    """Cities two by two, then a colleague's opinion, then the answer."""
    measured = returned(messages, "measure")
    if len(measured) < len(CITIES):
        return calls("measure", *({"city": city} for city in CITIES[len(measured) : len(measured) + 2]))
    if not returned(messages, "ask_colleague"):
        return calls("ask_colleague", {"degrees": measured})
    [warmest] = returned(messages, "ask_colleague")
    return calls(info.output_tools[0].name, {"warmest": CITIES[measured.index(warmest)], "degrees": warmest})


def compare(messages: list[ModelMessage], info: AgentInfo) -> ModelResponse:
    """Pair by pair, as one who can't count would."""
    degrees = [int(word) for word in str(messages[0].parts[0].content).split()]  # type: ignore[union-attr]
    known = returned(messages, "warmer_of")
    if len(known) < len(degrees) - 1:
        best = known[-1] if known else degrees[0]
        return calls("warmer_of", {"one": best, "other": degrees[len(known) + 1]})
    return ModelResponse(parts=[TextPart(str(known[-1]))])


colleague = Agent(FunctionModel(compare), name="colleague", capabilities=[Durable()])
explorer = Agent(
    FunctionModel(explore),
    name="explorer",
    output_type=Climate,
    capabilities=[Durable(inline={"ask_colleague"})],
)


@colleague.tool_plain
async def warmer_of(one: int, other: int) -> int:
    return max(one, other)


@explorer.tool_plain
def measure(city: str) -> int:
    return 10 + (CITIES.index(city) * 5) % len(CITIES)


@explorer.tool_plain
async def ask_colleague(degrees: list[int]) -> int:
    found = await colleague.run(" ".join(map(str, degrees)))
    return int(found.output)


@workflow
async def climate(task: Task, goal: str) -> Climate:
    return (await explorer.run(goal)).output


APP = App("climate", workflows=[climate], agents=[explorer, colleague])


def played(**options: Any) -> Driver:
    driver = Driver(APP, **options)
    driver.submit("climate", "find the warmest city")
    driver.run()
    return driver


def test_an_agents_requests_and_calls_are_steps_of_the_task() -> None:
    driver = played()
    result = driver.result()
    assert (result.outcome, result.result) == ("succeeded", {"warmest": "city 3", "degrees": 17})
    asked = Counter(entry.split(" ", 1)[1] for entry in driver.ran)
    assert asked == {
        "function:function:explore:": 6,
        "measure": 8,
        "function:function:compare:": 8,
        "warmer_of": 7,
    }
    assert result.steps == 29


@pytest.mark.parametrize("exactly_once", [True, False])
def test_crashed_anywhere_it_comes_to_the_same_result(exactly_once: bool) -> None:
    undisturbed = played()
    for act in range(exactly_once, len(undisturbed.acts), 7):
        crashed = played(crashes={act: 1}, exactly_once=exactly_once)
        results = {
            (result.outcome, result.steps, str(result.result)) for result in crashed.records("results")
        }
        assert results == {("succeeded", 29, str(undisturbed.result().result))}
        assert len(crashed.ran) <= len(undisturbed.ran) + 1
        assert crashed.reasons() == []


def test_crashed_after_each_act_it_answers_no_step_twice() -> None:
    undisturbed = played()
    crashed = played(crashes=dict.fromkeys(range(1, 2 * len(undisturbed.acts), 2), 0))
    assert crashed.result().result == undisturbed.result().result
    answered = [event.step for event in crashed.records("events") if event.kind == "step_succeeded"]
    assert answered == sorted(set(answered))


# ---------------------------------------------------------------- one agent, one thing


def scripted(*answers: ModelResponse) -> FunctionModel:
    """Says one after the other, by how much was said before."""

    def answer(messages: list[ModelMessage], info: AgentInfo) -> ModelResponse:
        return answers[sum(isinstance(message, ModelResponse) for message in messages)]

    return FunctionModel(answer)


def text(said: str) -> ModelResponse:
    return ModelResponse(parts=[TextPart(said)])


def driven(agent: Agent[Any, Any], run: Any = None) -> Driver:
    @workflow
    async def ask(task: Task) -> str:
        given = await run(task) if run else await agent.run("go")
        return str(given.output)

    driver = Driver(App("one", workflows=[ask], agents=[agent]))
    driver.submit("ask")
    driver.run()
    return driver


def test_a_tool_that_needs_approval_waits_for_a_person() -> None:
    paid: list[str] = []
    model = scripted(calls("refund", {"amount": 90}, {"amount": 5}), text("done"))
    agent = Agent(model, name="desk", capabilities=[Durable(approver="lead")])

    @agent.tool_plain(requires_approval=True)
    async def refund(amount: int) -> str:
        paid.append(current_attempt().idempotency_key)
        return f"paid {amount}"

    driver = driven(agent)
    first, second = driver.records("questions")
    assert (first.to, first.text) == ("lead", "May desk call refund with amount=90?")
    driver.restart()
    driver.produce("signals", {"kind": "answer", "task": "t", "step": first.step, "value": "approve"})
    driver.produce("signals", {"kind": "answer", "task": "t", "step": second.step, "value": "refuse"})
    driver.run()
    assert driver.result().result == "done"
    assert len(paid) == 1
    told = driver.records("model-calls")[-1].agent.body["messages"][-1]["parts"]
    assert [part["content"] for part in told] == ["paid 90", "The approver refused the call."]


def test_a_model_that_gives_up_is_followed_by_its_spare() -> None:
    def broken(messages: list[ModelMessage], info: AgentInfo) -> ModelResponse:
        raise Permanent("out of order")

    spare = FunctionModel(lambda messages, info: text("from the spare"), model_name="spare")
    agent = Agent(FunctionModel(broken), name="guide", capabilities=[Durable(fallbacks=[spare])])
    driver = driven(agent)
    assert driver.result().result == "from the spare"
    assert [call.candidate_index for call in driver.records("model-calls")] == [0, 1]


def test_a_tool_is_retried_by_its_policy_and_then_fails_the_run() -> None:
    model = scripted(calls("look", {}), text("never"))
    agent = Agent(model, name="guide", capabilities=[Durable(policies={"look": Policy(retries=2)})])

    @agent.tool_plain
    async def look() -> str:
        raise OSError("the disk is gone")

    driver = driven(agent)
    assert driver.result().outcome == "failed"
    assert "the disk is gone" in driver.result().problem.message  # type: ignore[union-attr]
    assert len(driver.ran) == 1 + 3


def test_a_tool_that_asks_the_model_to_try_again_has_answered() -> None:
    model = scripted(calls("look", {"at": 1}), calls("look", {"at": 2}), text("seen"))
    agent = Agent(model, name="guide", capabilities=[Durable()])

    @agent.tool_plain
    async def look(at: int) -> str:
        if at == 1:
            raise ModelRetry("look elsewhere")
        return "there"

    driver = driven(agent)
    assert driver.result().result == "seen"
    assert len(driver.ran) == 5


def test_dependencies_and_images_travel() -> None:
    class Account(BaseModel):
        owner: str
        since: timedelta

    seen: list[Any] = []

    def look(messages: list[ModelMessage], info: AgentInfo) -> ModelResponse:
        seen.append(messages[0].parts[0].content)  # type: ignore[union-attr]
        return calls("whose", {}) if len(messages) == 1 else text(str(returned(messages, "whose")[0]))

    agent = Agent(FunctionModel(look), name="guide", deps_type=Account, capabilities=[Durable()])

    @agent.tool
    async def whose(ctx: RunContext[Any]) -> str:
        return f"{ctx.deps.owner} for {ctx.deps.since.days} days"

    image = BinaryContent(b"\x00\xff", media_type="image/png")
    account = Account(owner="Ada", since=timedelta(days=3))

    async def run(task: Task) -> Any:
        return await agent.run(["what is it?", image], deps=account)

    driver = driven(agent, run)
    assert driver.result().result == "Ada for 3 days"
    assert seen[0][1].data == b"\x00\xff"


def test_a_reworded_prompt_parks_no_task() -> None:
    agent = Agent(scripted(calls("look", {}), text("seen")), name="guide", capabilities=[Durable()])

    @agent.tool_plain
    async def look() -> str:
        return "there"

    def app(prompt: str) -> App:
        @workflow
        async def ask(task: Task) -> str:
            await task.sleep(60)
            said = await agent.run(prompt)
            await task.sleep(60)
            return said.output

        return App("one", workflows=[ask], agents=[agent])

    driver = Driver(app("look"))
    driver.submit("ask")
    driver.run(until_ms=driver.now_ms + 90_000)
    driver.restart(app("please look"))
    driver.run()
    assert driver.result().result == "seen"


def test_an_mcp_servers_tools_are_listed_and_called_as_steps(tmp_path: Path) -> None:
    model = scripted(calls("hotel", {"name": "Sol", "stars": 3}, {"name": "Mar", "stars": 4}), text("seen"))
    command = [str(SERVER), "stdio", str(tmp_path / "log")]
    hotels = MCPToolset(
        StdioTransport(sys.executable, command, keep_alive=False), id="hotels", init_timeout=30
    )
    driver = driven(Agent(model, name="guide", toolsets=[hotels], capabilities=[Durable()]))
    assert driver.result().result == "seen"
    tools = [entry.split(" ", 1)[1] for entry in driver.ran if "hotels" in entry]
    assert tools == ["hotels.list_tools", "hotels.hotel", "hotels.hotel"]
    told = driver.records("model-calls")[-1].agent.body["messages"][-1]["parts"]
    assert [part["content"] for part in told] == [{"name": "Sol", "stars": 3}, {"name": "Mar", "stars": 4}]


def test_an_agent_that_the_app_does_not_list_says_so() -> None:
    agent = Agent(scripted(), name="guide", capabilities=[Durable()])

    @workflow
    async def ask(task: Task) -> str:
        return (await agent.run("go")).output

    driver = Driver(App("one", workflows=[ask]))
    driver.submit("ask")
    driver.run()
    assert driver.bug().message == "the app has no agent 'guide': add it with App(…, agents=[…])"


async def test_outside_of_a_workflow_the_agent_is_what_it_was() -> None:
    agent = Agent(scripted(calls("look", {}), text("seen")), name="guide", capabilities=[Durable()])

    @agent.tool_plain
    async def look() -> str:
        return "there"

    assert (await agent.run("go")).output == "seen"


def test_an_agent_that_is_not_durable_is_refused() -> None:
    with pytest.raises(BadInput, match=r"agent 'guide' is not durable: build it with capabilities=\[Durable"):
        App("one", workflows=[climate], agents=[Agent(scripted(), name="guide")])


def test_an_agent_whose_runs_wait_for_each_other_is_refused_at_the_start() -> None:
    agent = Agent("openai:gpt-5-mini", name="guide", capabilities=[Durable()], max_concurrency=2)
    with pytest.raises(
        BadInput, match=r"max_concurrency, which .*limits=\{'openai:gpt-5-mini': Limit\(concurrent=2\)\}"
    ):
        App("travel", workflows=[], agents=[agent])
