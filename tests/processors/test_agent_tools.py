"""What tools of agents may return, raise and know, within a workflow that is rebuilt time and again."""

import asyncio
from typing import Any

import pytest
from pydantic import BaseModel, TypeAdapter
from pydantic_ai import Agent, ModelRetry, RunContext, Tool
from pydantic_ai.exceptions import ApprovalRequired, ToolFailed
from pydantic_ai.messages import (
    BinaryContent,
    ImageUrl,
    ModelMessage,
    ModelResponse,
    TextPart,
    ToolCallPart,
    ToolReturn,
    ToolReturnPart,
)
from pydantic_ai.models.function import AgentInfo, FunctionModel
from pydantic_ai.tools import DeferredToolRequests, DeferredToolResults
from pydantic_ai.toolsets import (
    FunctionToolset,
)

from segue import Permanent, Policy, Task, current_attempt
from segue.agents import Durable
from tests.agents import asked, calls, played_thrice, scripted, text

# ---------------------------------------------------------------- what a tool may return and raise


class Place(BaseModel):
    name: str
    tags: tuple[str, ...] = ()


RETURNS: list[tuple[Any, Any]] = [
    (None, None),
    (["a", 1, None], ["a", 1, None]),
    (Place(name="Faro"), {"name": "Faro", "tags": []}),
    ({"places": [Place(name="Faro")]}, {"places": [{"name": "Faro", "tags": []}]}),
    (ToolReturn("seen", content="and more", metadata={"by": "me"}), "seen"),
]


@pytest.mark.parametrize(("value", "says"), RETURNS)
def test_a_tool_may_return_any_data(value: Any, says: Any) -> None:
    agent = Agent(scripted(calls("look", {}), text("seen")), name="guide", capabilities=[Durable()])

    @agent.tool_plain
    def look() -> Any:
        return value

    async def run(task: Task) -> Any:
        result = await agent.run("go")
        parts = [part for message in result.all_messages() for part in message.parts]
        return [part.content for part in parts if isinstance(part, ToolReturnPart)]

    assert played_thrice(run, agent).result().result == [says]


@pytest.mark.parametrize(
    "content",
    [
        BinaryContent(b"\x89PNG", media_type="image/png"),
        ImageUrl("https://a.example/a.png"),
        ["text", BinaryContent(b"1", media_type="audio/wav")],
    ],
)
def test_a_tool_may_return_what_is_no_text(content: Any) -> None:
    agent = Agent(scripted(calls("look", {}), text("seen")), name="guide", capabilities=[Durable()])

    @agent.tool_plain
    def look() -> Any:
        return content

    async def run(task: Task) -> Any:
        result = await agent.run("go")
        assert result.output == "seen"
        return TypeAdapter(list[ModelMessage]).dump_python(result.all_messages(), mode="json")[2]["parts"]

    assert played_thrice(run, agent).result().outcome == "succeeded"


def raising(error: Exception, *answers: ModelResponse, retries: int = 0) -> Agent[Any, Any]:
    durable = Durable[Any](tool_policy=Policy(retries=retries))
    agent: Agent[Any, Any] = Agent(scripted(*answers), name="guide", capabilities=[durable], retries=2)

    @agent.tool_plain
    def look(at: str) -> str:
        if at == "nowhere":
            raise error
        return at

    return agent


def test_a_tool_that_asks_to_try_again_tells_the_model() -> None:
    answers = calls("look", {"at": "nowhere"}), calls("look", {"at": "A"}), text("seen")
    agent = raising(ModelRetry("look somewhere"), *answers)

    async def run(task: Task) -> Any:
        result = await agent.run("go")
        parts = [part for message in result.all_messages() for part in message.parts]
        return [str(part) for part in parts]

    driver = played_thrice(run, agent)
    assert "look somewhere" in str(driver.result().result)
    assert driver.result().steps == 5


def test_a_tool_that_asks_to_try_again_too_often_fails_the_run() -> None:
    agent = raising(ModelRetry("look somewhere"), *[calls("look", {"at": "nowhere"})] * 4)

    async def run(task: Task) -> Any:
        return (await agent.run("go")).output

    problem = played_thrice(run, agent).result().problem
    assert problem is not None
    assert problem.type == "UnexpectedModelBehavior"


def test_arguments_that_do_not_fit_are_told_to_the_model_without_a_step() -> None:
    answers = calls("look", {"at": ["no text"]}), calls("look", {"at": "A"}), text("seen")
    agent = raising(ModelRetry("never"), *answers)

    async def run(task: Task) -> Any:
        return (await agent.run("go")).output

    driver = played_thrice(run, agent)
    assert driver.result().result == "seen"
    assert sum(".call_tool" in each for each in asked(driver)) == 1


@pytest.mark.parametrize(
    ("error", "kind"), [(Permanent("gone"), "Permanent"), (RuntimeError("down"), "RuntimeError")]
)
def test_a_tool_that_fails_fails_its_step(error: Exception, kind: str) -> None:
    agent = raising(error, calls("look", {"at": "nowhere"}), text("seen"))

    async def run(task: Task) -> Any:
        return (await agent.run("go")).output

    problem = played_thrice(run, agent).result().problem
    assert problem is not None
    assert (problem.type, "guide.look" in problem.message) == (type(error).__name__, True)


def test_a_tool_failure_that_is_meant_for_the_model_is_told_to_it() -> None:
    agent = raising(ToolFailed("no light"), calls("look", {"at": "nowhere"}), text("dark"))

    async def run(task: Task) -> Any:
        return (await agent.run("go")).output

    driver = played_thrice(run, agent)
    assert driver.result().result == "dark", driver.result().problem


def test_a_tool_is_retried_by_its_policy_with_one_key() -> None:
    keys: list[str] = []
    agent: Agent[Any, Any] = Agent(
        scripted(calls("look", {}), text("seen")),
        name="guide",
        capabilities=[Durable(policies={"look": Policy(retries=2)})],
    )

    @agent.tool_plain
    def look() -> str:
        keys.append(current_attempt().idempotency_key)
        if current_attempt().attempt < 3:
            raise ConnectionError
        return "there"

    async def run(task: Task) -> Any:
        return (await agent.run("go")).output

    assert played_thrice(run, agent).result().result == "seen"
    assert set(keys) == {"t/1"}


def test_a_tool_that_takes_too_long_fails_its_attempt() -> None:
    agent: Agent[Any, Any] = Agent(
        scripted(calls("look", {}), text("seen")),
        name="guide",
        capabilities=[Durable(policies={"look": Policy(retries=0, timeout_s=0.05)})],
    )

    @agent.tool_plain
    async def look() -> str:
        await asyncio.sleep(60)
        return "there"

    async def run(task: Task) -> Any:
        return (await agent.run("go")).output

    problem = played_thrice(run, agent).result().problem
    assert problem is not None
    assert problem.type == "TimeoutError"


def test_a_tools_own_timeout_is_told_to_the_model() -> None:
    agent: Agent[Any, Any] = Agent(
        scripted(calls("look", {}), text("slow")), name="guide", capabilities=[Durable()]
    )

    @agent.tool_plain(timeout=0.05)
    async def look() -> str:
        await asyncio.sleep(60)
        return "there"

    async def run(task: Task) -> Any:
        return (await agent.run("go")).output

    assert played_thrice(run, agent).result().result == "slow"


# ---------------------------------------------------------------- how tools are called


def pair(messages: list[ModelMessage], info: AgentInfo) -> ModelResponse:
    if any(isinstance(part, ToolReturnPart) for message in messages for part in message.parts):
        return text("seen")
    return ModelResponse(parts=[ToolCallPart("look", {"at": "A"}), ToolCallPart("write", {"what": "B"})])


@pytest.mark.parametrize("sequential", [True, False])
def test_tools_are_called_side_by_side_or_one_after_the_other(sequential: bool) -> None:
    agent: Agent[Any, Any] = Agent(FunctionModel(pair), name="guide", capabilities=[Durable()])
    tools = Tool(lambda at: at, name="look"), Tool(lambda what: what, name="write", sequential=sequential)
    toolset = FunctionToolset[Any](list(tools), id="both")
    agent = Agent(FunctionModel(pair), name="guide", toolsets=[toolset], capabilities=[Durable()])

    async def run(task: Task) -> Any:
        return (await agent.run("go")).output

    driver = played_thrice(run, agent)
    assert driver.result().result == "seen", driver.result().problem
    assert driver.result().steps == 4


def test_a_tool_knows_its_run() -> None:
    agent: Agent[Any, Any] = Agent(
        scripted(calls("look", {"at": "A"}), text("seen")),
        name="guide",
        deps_type=dict[str, str],
        capabilities=[Durable()],
    )
    known: list[Any] = []

    @agent.tool
    def look(ctx: RunContext[Any], at: str) -> str:
        assert ctx.agent is not None
        assert ctx.agent.name == "guide"
        known.append(
            (ctx.deps, ctx.tool_name, ctx.retry, ctx.run_step, ctx.run_id, ctx.metadata, ctx.agent.name)
        )
        return f"{ctx.tool_call_id}"

    async def run(task: Task) -> Any:
        result = await agent.run("go", deps={"at": "here"}, metadata={"tenant": "acme"})
        return [result.run_id, result.metadata]

    result = played_thrice(run, agent).result()
    [run_id, metadata] = result.result
    assert metadata == {"tenant": "acme"}
    assert set(map(str, known)) == {str(({"at": "here"}, "look", 0, 1, run_id, {"tenant": "acme"}, "guide"))}


def test_a_tool_may_not_change_the_run_it_belongs_to() -> None:
    agent: Agent[Any, Any] = Agent(
        scripted(calls("look", {}), text("seen")),
        name="guide",
        capabilities=[Durable(tool_policy=Policy(retries=0))],
    )

    @agent.tool
    def look(ctx: RunContext[Any]) -> str:
        ctx.enqueue("more")
        return "there"

    async def run(task: Task) -> Any:
        return (await agent.run("go")).output

    problem = played_thrice(run, agent).result().problem
    assert problem is not None
    assert "enqueue" in problem.message


def test_an_approval_that_a_tool_asks_for_with_metadata_is_kept() -> None:
    agent: Agent[Any, Any] = Agent(
        scripted(calls("pay", {"amount": 9}), text("paid")),
        name="guide",
        output_type=[str, DeferredToolRequests],
        capabilities=[Durable()],
    )

    @agent.tool
    def pay(ctx: RunContext[Any], amount: int) -> str:
        if not ctx.tool_call_approved:
            raise ApprovalRequired(metadata={"amount": amount})
        return f"paid {amount}"

    async def run(task: Task) -> Any:
        first = await agent.run("go")
        [call] = first.output.approvals
        results = DeferredToolResults(approvals={call.tool_call_id: True})
        second = await agent.run(message_history=first.all_messages(), deferred_tool_results=results)
        return [first.output.metadata[call.tool_call_id], second.output]

    assert played_thrice(run, agent).result().result == [{"amount": 9}, "paid"]


def test_parts_of_one_response_are_handled_together() -> None:
    """Text beside a call is no answer yet."""

    def speak(messages: list[ModelMessage], info: AgentInfo) -> ModelResponse:
        if len(messages) > 2:
            return text("seen")
        return ModelResponse(parts=[TextPart("I look"), ToolCallPart("look", {"at": "A"})])

    agent = Agent(
        FunctionModel(speak),
        name="guide",
        toolsets=[FunctionToolset[Any]([Tool(lambda at: at, name="look")], id="eyes")],
        capabilities=[Durable()],
    )

    async def run(task: Task) -> Any:
        return (await agent.run("go")).output

    assert played_thrice(run, agent).result().result == "seen"
