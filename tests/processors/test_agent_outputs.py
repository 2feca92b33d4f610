"""What an agent may be asked and may answer with, within a workflow that is rebuilt time and again."""

from dataclasses import dataclass
from typing import Any, cast

import pytest
from pydantic import BaseModel
from pydantic_ai import (
    Agent,
    BinaryContent,
    BinaryImage,
    DocumentUrl,
    ImageUrl,
    ModelRetry,
    NativeOutput,
    PromptedOutput,
    RunContext,
    TextOutput,
    ToolOutput,
)
from pydantic_ai.capabilities import NativeTool, PrepareTools, ProcessHistory, Thinking
from pydantic_ai.messages import (
    ModelMessage,
    ModelResponse,
    NativeToolCallPart,
    NativeToolReturnPart,
    TextPart,
    ThinkingPart,
    ToolCallPart,
    UploadedFile,
    UserPromptPart,
)
from pydantic_ai.models.function import AgentInfo, FunctionModel
from pydantic_ai.native_tools import WebSearchTool
from pydantic_ai.output import StructuredDict
from pydantic_ai.profiles import ModelProfile
from pydantic_ai.tools import ToolDefinition
from pydantic_ai.usage import RunUsage, UsageLimits
from typing_extensions import TypedDict

from segue import Task
from segue.agents import Durable
from tests.agents import calls, played_thrice, scripted, text


class Place(BaseModel):
    name: str
    stars: int = 3


@dataclass
class Town:
    name: str


class Spot(TypedDict):
    name: str


def shouted(said: str) -> str:
    return said.upper()


def found(ctx: RunContext[Any], name: str) -> Place:
    """Say where it is."""
    if name == "nowhere":
        raise ModelRetry("somewhere, please")
    return Place(name=name)


def final(**arguments: Any) -> FunctionModel:
    """Answers by the output tool."""

    def answer(messages: list[ModelMessage], info: AgentInfo) -> ModelResponse:
        return ModelResponse(parts=[ToolCallPart(info.output_tools[0].name, arguments)])

    return FunctionModel(answer)


def said(what: str, **profile: Any) -> FunctionModel:
    return FunctionModel(lambda messages, info: text(what), profile=cast("ModelProfile", profile))


JSON = '{"name": "Faro", "stars": 4}'
FARO = {"name": "Faro", "stars": 4}
OUTPUTS: dict[str, tuple[Any, FunctionModel, Any]] = {
    "text": (str, said("Faro"), "Faro"),
    "a model": (Place, final(name="Faro", stars=4), FARO),
    "a dataclass": (Town, final(name="Faro"), {"name": "Faro"}),
    "a dict": (Spot, final(name="Faro"), {"name": "Faro"}),
    "a list": (list[int], final(response=[1, 2]), [1, 2]),
    "a union": ([Place, Town], final(name="Faro", stars=4), FARO),
    "by a tool": (ToolOutput(Place, name="answer"), final(name="Faro", stars=4), FARO),
    "natively": (NativeOutput(Place), said(JSON, supports_json_schema_output=True), FARO),
    "by the prompt": (PromptedOutput(Place), said(JSON), FARO),
    "by the text": (TextOutput(shouted), said("Faro"), "FARO"),
    "a function": (found, final(name="Faro"), {"name": "Faro", "stars": 3}),
    "a schema": (
        StructuredDict({"type": "object", "properties": {"name": {"type": "string"}}}, name="Spot"),
        final(name="Faro"),
        {"name": "Faro"},
    ),
}


@pytest.mark.parametrize("kind", OUTPUTS)
def test_an_output_of_each_kind_is_the_same_after_a_rebuild(kind: str) -> None:
    output, model, says = OUTPUTS[kind]
    agent: Agent[Any, Any] = Agent(model, name="guide", output_type=output, capabilities=[Durable()])

    async def run(task: Task) -> Any:
        return (await agent.run("go")).output

    assert played_thrice(run, agent).result().result == says


def test_an_output_function_that_refuses_asks_again() -> None:
    def answer(messages: list[ModelMessage], info: AgentInfo) -> ModelResponse:
        name = "nowhere" if len(messages) == 1 else "Faro"
        return ModelResponse(parts=[ToolCallPart(info.output_tools[0].name, {"name": name})])

    agent: Agent[Any, Any] = Agent(
        FunctionModel(answer), name="guide", output_type=found, capabilities=[Durable()], retries=2
    )

    async def run(task: Task) -> Any:
        return (await agent.run("go")).output.name

    driver = played_thrice(run, agent)
    assert (driver.result().result, driver.result().steps) == ("Faro", 2)


def test_an_output_validator_that_refuses_asks_again() -> None:
    agent: Agent[Any, Any] = Agent(
        scripted(text("short"), text("long enough")), name="guide", capabilities=[Durable()], retries=2
    )

    @agent.output_validator
    async def long(ctx: RunContext[Any], output: str) -> str:
        if len(output) < 8:
            raise ModelRetry("longer")
        return output

    async def run(task: Task) -> Any:
        return (await agent.run("go")).output

    driver = played_thrice(run, agent)
    assert (driver.result().result, driver.result().steps) == ("long enough", 2)


# ---------------------------------------------------------------- what a model is told


def test_instructions_and_system_prompts_may_be_made_by_functions() -> None:
    def told(messages: list[ModelMessage], info: AgentInfo) -> ModelResponse:
        prompts = [part.content for part in messages[0].parts if part.part_kind == "system-prompt"]
        return text(f"{prompts} {info.instructions}")

    agent: Agent[Any, Any] = Agent(
        FunctionModel(told),
        name="guide",
        deps_type=str,
        instructions="Be brief.",
        system_prompt="You guide.",
        capabilities=[Durable()],
    )

    @agent.instructions
    async def who(ctx: RunContext[str]) -> str:
        return f"For {ctx.deps}."

    @agent.system_prompt(dynamic=True)
    async def where(ctx: RunContext[str]) -> str:
        return f"Where {ctx.deps} is."

    async def run(task: Task) -> Any:
        first = await agent.run("go", deps="Ana", instructions="Now.")
        second = await agent.run("go", deps="Bo", message_history=first.all_messages())
        return [first.output, second.output]

    first, second = played_thrice(run, agent).result().result
    assert "['You guide.', 'Where Ana is.'] Be brief." in first
    assert all(each in first for each in ("For Ana.", "Now."))
    assert "For Bo." in second


PROMPTS: list[Any] = [
    ["What is it?", BinaryImage(b"\x89PNG\xff", media_type="image/png")],
    [ImageUrl("https://a.example/a.png"), "What is it?"],
    [DocumentUrl("https://a.example/a.pdf", media_type="application/pdf")],
    [BinaryContent(b"RIFF", media_type="audio/wav"), BinaryContent(b"%PDF", media_type="application/pdf")],
    [UploadedFile("file-1", provider_name="openai", media_type="text/csv")],
]


@pytest.mark.parametrize("prompt", PROMPTS)
def test_a_prompt_may_have_pictures_sounds_and_files(prompt: Any) -> None:
    seen: list[Any] = []

    def look(messages: list[ModelMessage], info: AgentInfo) -> ModelResponse:
        [part] = messages[0].parts
        seen.append(part.content)  # type: ignore[union-attr]
        return text("seen")

    agent: Agent[Any, Any] = Agent(FunctionModel(look), name="guide", capabilities=[Durable()])

    async def run(task: Task) -> Any:
        return (await agent.run(prompt)).output

    assert played_thrice(run, agent).result().result == "seen"
    assert all(each == prompt for each in seen)


def test_thinking_and_tools_of_the_provider_stay_in_the_history() -> None:
    response = ModelResponse(
        parts=[
            ThinkingPart("let me see", signature="s1g", provider_name="test"),
            NativeToolCallPart("web_search", {"query": "Faro"}, tool_call_id="n1", provider_name="test"),
            NativeToolReturnPart("web_search", {"found": 1}, tool_call_id="n1", provider_name="test"),
            TextPart("seen"),
        ],
        provider_details={"logprobs": [0.5]},
        finish_reason="stop",
    )
    capabilities: list[Any] = [NativeTool(WebSearchTool()), Thinking(), Durable[Any]()]
    profile = ModelProfile(supported_native_tools=frozenset({WebSearchTool}))
    model = FunctionModel(lambda messages, info: response, profile=profile)
    agent: Agent[Any, Any] = Agent(model, name="guide", capabilities=capabilities)

    async def run(task: Task) -> Any:
        result = await agent.run("go")
        assert result.response.parts == response.parts
        assert result.response.provider_details == response.provider_details
        return result.output

    assert played_thrice(run, agent).result().result == "seen"


def test_a_history_processor_may_change_what_is_sent() -> None:
    sent: list[int] = []

    def count(messages: list[ModelMessage], info: AgentInfo) -> ModelResponse:
        sent.append(len(messages))
        return text("seen")

    async def last(ctx: RunContext[Any], messages: list[ModelMessage]) -> list[ModelMessage]:
        return messages[-1:]

    agent: Agent[Any, Any] = Agent(
        FunctionModel(count), name="guide", capabilities=[ProcessHistory(last), Durable[Any]()]
    )

    async def run(task: Task) -> Any:
        first = await agent.run("go")
        second = await agent.run("again", message_history=first.all_messages())
        return [m.kind for m in second.all_messages()]

    assert played_thrice(run, agent).result().result
    assert set(sent) == {1}


def test_tools_may_be_prepared_for_each_step() -> None:
    async def none_after_the_first(ctx: RunContext[Any], tools: list[ToolDefinition]) -> list[ToolDefinition]:
        return tools if ctx.run_step == 1 else []

    def look(messages: list[ModelMessage], info: AgentInfo) -> ModelResponse:
        return calls("look", {}) if info.function_tools else text("seen")

    agent: Agent[Any, Any] = Agent(
        FunctionModel(look), name="guide", capabilities=[PrepareTools(none_after_the_first), Durable[Any]()]
    )

    @agent.tool_plain
    def look_at() -> str:
        return "there"

    agent2: Agent[Any, Any] = Agent(
        FunctionModel(look), name="other", capabilities=[PrepareTools(none_after_the_first), Durable[Any]()]
    )

    @agent2.tool_plain(name="look")
    def again() -> str:
        return "there"

    async def run(task: Task) -> Any:
        return (await agent2.run("go")).output

    assert played_thrice(run, agent, agent2).result().result == "seen"


# ---------------------------------------------------------------- limits, settings, usage


def test_a_usage_limit_ends_the_run() -> None:
    agent: Agent[Any, Any] = Agent(scripted(*[calls("look", {})] * 5), name="guide", capabilities=[Durable()])

    @agent.tool_plain
    def look() -> str:
        return "there"

    async def run(task: Task) -> Any:
        return (await agent.run("go", usage_limits=UsageLimits(request_limit=2))).output

    result = played_thrice(run, agent).result()
    assert result.problem is not None
    assert (result.problem.type, result.steps) == ("UsageLimitExceeded", 4)


def test_usage_is_counted_once_over_several_runs() -> None:
    agent: Agent[Any, Any] = Agent(scripted(text("seen")), name="guide", capabilities=[Durable()])

    async def run(task: Task) -> Any:
        usage = RunUsage()
        for _ in range(2):
            await agent.run("go", usage=usage)
        return [usage.requests, usage.output_tokens]

    assert played_thrice(run, agent).result().result == [2, 2]


def test_model_settings_of_the_agent_and_the_run_are_sent() -> None:
    sent: list[Any] = []

    def answer(messages: list[ModelMessage], info: AgentInfo) -> ModelResponse:
        sent.append(info.model_settings)
        return text("seen")

    agent: Agent[Any, Any] = Agent(
        FunctionModel(answer), name="guide", model_settings={"temperature": 0.5}, capabilities=[Durable()]
    )

    async def run(task: Task) -> Any:
        return (await agent.run("go", model_settings={"max_tokens": 9})).output

    assert played_thrice(run, agent).result().result == "seen"
    assert {(each["temperature"], each["max_tokens"]) for each in sent} == {(0.5, 9)}


def test_a_run_may_be_given_its_ids() -> None:
    agent: Agent[Any, Any] = Agent(scripted(text("seen")), name="guide", capabilities=[Durable()])

    async def run(task: Task) -> Any:
        result = await agent.run("go", run_id="r1", conversation_id="c1")
        stamped = {(m.run_id, m.conversation_id) for m in result.all_messages()}
        assert stamped == {("r1", "c1")}
        return [result.run_id, result.conversation_id]

    assert played_thrice(run, agent).result().result == ["r1", "c1"]


def test_messages_that_are_enqueued_by_an_inline_tool_reach_the_model() -> None:
    def answer(messages: list[ModelMessage], info: AgentInfo) -> ModelResponse:
        parts = [part for message in messages for part in message.parts]
        texts = [str(part.content) for part in parts if isinstance(part, UserPromptPart)]
        return text("seen") if "and more" in texts else calls("look", {})

    agent: Agent[Any, Any] = Agent(
        FunctionModel(answer), name="guide", capabilities=[Durable(inline={"look"})]
    )

    @agent.tool
    async def look(ctx: RunContext[Any]) -> str:
        ctx.enqueue("and more")
        return "there"

    async def run(task: Task) -> Any:
        return (await agent.run("go")).output

    assert played_thrice(run, agent).result().result == "seen"
