"""Models of every kind, and how a run chooses one, within a workflow that is rebuilt time and again."""

from collections.abc import AsyncIterator
from typing import Any

import pytest
from pydantic_ai import Agent, RunContext
from pydantic_ai.capabilities import (
    AbstractCapability,
    Hooks,
    ModelFallback,
    ResolveModelId,
    SelectModel,
    Thinking,
    ToolSearch,
)
from pydantic_ai.exceptions import ModelHTTPError, SkipModelRequest
from pydantic_ai.messages import ModelMessage, ModelResponse, TextPart
from pydantic_ai.models import Model, ModelRequestContext, ModelRequestParameters
from pydantic_ai.models.fallback import FallbackModel
from pydantic_ai.models.function import AgentInfo, FunctionModel
from pydantic_ai.models.instrumented import InstrumentedModel
from pydantic_ai.models.test import TestModel
from pydantic_ai.models.wrapper import WrapperModel
from pydantic_ai.settings import ModelSettings

from segue import Policy, Task
from segue.agents import Durable
from tests.agents import asked, calls, played, played_thrice, scripted, text
from tests.driver import Driver


def saying(what: str, name: str | None = None) -> FunctionModel:
    async def stream(messages: list[ModelMessage], info: AgentInfo) -> AsyncIterator[str]:
        yield what

    return FunctionModel(
        lambda messages, info: text(what), stream_function=stream, model_name=name or f"says {what}"
    )


def failing(status: int = 503) -> FunctionModel:
    def fail(messages: list[ModelMessage], info: AgentInfo) -> ModelResponse:
        raise ModelHTTPError(status, "broken")

    return FunctionModel(fail, model_name="broken")


class Polite(WrapperModel):
    async def request(
        self,
        messages: list[ModelMessage],
        model_settings: ModelSettings | None,
        model_request_parameters: ModelRequestParameters,
    ) -> ModelResponse:
        response = await super().request(messages, model_settings, model_request_parameters)
        return ModelResponse(parts=[TextPart(f"{response.text}, please")])


MODELS: dict[str, tuple[Model, str]] = {
    "a function": (saying("hello"), "hello"),
    "for tests": (TestModel(custom_output_text="hello"), "hello"),
    "wrapped": (Polite(saying("hello")), "hello, please"),
    "instrumented": (InstrumentedModel(saying("hello")), "hello"),
    "with fallbacks": (FallbackModel(failing(), saying("hello")), "hello"),
    "wrapped with fallbacks": (Polite(FallbackModel(failing(), saying("hello"))), "hello, please"),
}


def output_of(agent: Agent[Any, Any], **options: Any) -> Driver:
    async def run(task: Task) -> Any:
        return (await agent.run("go", **options)).output

    return played_thrice(run, agent)


@pytest.mark.parametrize("kind", MODELS)
def test_a_model_of_each_kind_answers_in_a_step(kind: str) -> None:
    model, says = MODELS[kind]
    driver = output_of(Agent(model, name="guide", capabilities=[Durable()]))
    assert (driver.result().result, driver.result().steps) == (says, 1), driver.result().problem


def test_what_was_tried_within_a_request_stands_in_the_response() -> None:
    model = FallbackModel(failing(), saying("hello"))
    agent = Agent(model, name="guide", capabilities=[Durable()])

    async def run(task: Task) -> Any:
        result = await agent.run("go")
        return [attempt.model_name for attempt in result.response.failed_attempts or []]

    assert played_thrice(run, agent).result().result == ["broken"]


# ---------------------------------------------------------------- which model is asked


def test_a_step_may_choose_its_model() -> None:
    small, large = saying("small"), saying("large")

    def choose(ctx: Any) -> Any:
        return "large" if ctx.deps == "hard" else "small"

    durable = Durable[Any](models={"small": small, "large": large})
    agent: Agent[Any, Any] = Agent(
        small, name="guide", deps_type=str, capabilities=[SelectModel(choose), durable]
    )
    assert output_of(agent, deps="hard").result().result == "large"


def test_a_name_may_be_resolved_by_a_capability() -> None:
    def resolve(ctx: Any, model_id: str) -> Any:
        return saying(f"for {ctx.deps}") if model_id == "ours" else None

    agent: Agent[Any, Any] = Agent(
        "ours", name="guide", deps_type=str, capabilities=[ResolveModelId(resolve), Durable[Any]()]
    )
    driver = output_of(agent, deps="acme")
    assert driver.result().result == "for acme", driver.result().problem


def test_a_name_that_nobody_knows_fails_the_step() -> None:
    agent: Agent[Any, Any] = Agent(
        saying("hello"), name="guide", capabilities=[Durable(policy=Policy(retries=0))]
    )

    async def run(task: Task) -> Any:
        return (await agent.run("go", model="nobody:knows")).output

    assert "nobody" in played(run, agent).bug().message


def test_the_next_model_is_asked_within_the_workflow() -> None:
    agent: Agent[Any, Any] = Agent(
        scripted(ModelResponse(parts=[TextPart("cut")], finish_reason="length")),
        name="guide",
        capabilities=[ModelFallback("spare"), Durable[Any](models={"spare": saying("whole")})],
    )
    driver = output_of(agent)
    assert (driver.result().result, driver.result().steps) == ("whole", 2), driver.result().problem


def test_a_spare_is_asked_by_the_policy() -> None:
    durable = Durable[Any](fallbacks=[saying("spare", "spare")], policy=Policy(retries=0))
    driver = output_of(Agent(failing(), name="guide", capabilities=[durable]))
    assert (driver.result().result, driver.result().steps) == ("spare", 1), driver.result().problem


def test_a_model_that_gives_up_fails_the_run() -> None:
    durable = Durable[Any](policy=Policy(retries=0))
    problem = output_of(Agent(failing(400), name="guide", capabilities=[durable])).result().problem
    assert problem is not None
    assert "guide" in problem.message


# ---------------------------------------------------------------- capabilities


class Counting(AbstractCapability[Any]):
    """It has no id, and hooks alone: they run within the workflow."""

    async def before_model_request(
        self, ctx: RunContext[Any], request_context: ModelRequestContext
    ) -> ModelRequestContext:
        request_context.model_settings = ModelSettings(temperature=ctx.run_step / 10)
        return request_context


def test_capabilities_without_an_id_take_part_in_the_run() -> None:
    told: list[Any] = []

    def answer(messages: list[ModelMessage], info: AgentInfo) -> ModelResponse:
        told.append(info.model_settings)
        return text("seen")

    hooks = Hooks[Any]()

    @hooks.on.before_run
    async def begin(ctx: RunContext[Any]) -> None:
        assert ctx.run_id

    capabilities: list[Any] = [Counting(), Thinking(), ToolSearch(), hooks, Durable[Any]()]
    agent: Agent[Any, Any] = Agent(FunctionModel(answer), name="guide", capabilities=capabilities)

    @agent.tool_plain
    def look() -> str:
        return "there"

    assert output_of(agent).result().result == "seen"
    assert all(each["temperature"] == 0.1 for each in told)


def test_a_hook_may_answer_in_place_of_the_model() -> None:
    hooks = Hooks[Any]()

    @hooks.on.before_model_request
    async def skip(ctx: RunContext[Any], request_context: ModelRequestContext) -> ModelRequestContext:
        raise SkipModelRequest(text("by the hook"))

    agent: Agent[Any, Any] = Agent(failing(), name="guide", capabilities=[hooks, Durable[Any]()])
    driver = output_of(agent)
    assert (driver.result().result, driver.result().steps) == ("by the hook", 0)


def test_a_capability_that_is_given_to_a_run_is_refused_if_it_needs_steps() -> None:
    from pydantic_ai.capabilities import Toolset
    from pydantic_ai.exceptions import UserError
    from pydantic_ai.toolsets import FunctionToolset

    agent = Agent(saying("hello"), name="guide", capabilities=[Durable()])
    late = Toolset[Any](FunctionToolset(id="late"), id="late")

    async def run(task: Task) -> Any:
        try:
            await agent.run("go", capabilities=[late])
        except UserError as error:
            return str(error)

    assert "Attach all capabilities at agent construction" in played_thrice(run, agent).result().result


# ---------------------------------------------------------------- streams


async def heard(ctx: RunContext[Any], events: Any) -> None:
    async for event in events:
        assert event.event_kind


@pytest.mark.parametrize("stream", [True, False])
def test_however_a_run_is_run_its_requests_are_steps(stream: bool) -> None:
    agent = Agent(saying("hello"), name="guide", capabilities=[Durable(stream=stream)])

    async def run(task: Task) -> Any:
        outputs = [(await agent.run("go")).output, (await agent.run("go", event_stream_handler=heard)).output]
        async with agent.run_stream("go") as streamed:
            outputs.append("".join([piece async for piece in streamed.stream_text(delta=True)]))
        async with agent.iter("go") as iterated:
            nodes = [type(node).__name__ async for node in iterated]
        assert iterated.result is not None
        outputs.append(iterated.result.output)
        async with agent.run_stream_events("go") as events:
            kinds = [event.event_kind async for event in events]
        return [outputs, nodes, kinds[-1]]

    driver = played_thrice(run, agent)
    outputs, nodes, last = driver.result().result
    assert outputs == ["hello"] * 4
    assert nodes == ["UserPromptNode", "ModelRequestNode", "CallToolsNode", "End"]
    assert last == "agent_run_result"
    assert len(asked(driver)) == 5


@pytest.mark.parametrize("how", ["run_sync", "run_stream_sync"])
def test_a_run_that_blocks_is_refused(how: str) -> None:
    agent = Agent(saying("hello"), name="guide", capabilities=[Durable()])

    async def run(task: Task) -> Any:
        try:
            getattr(agent, how)("go")
        except Exception as error:  # noqa: BLE001 - each says it in its own way
            return f"{type(error).__name__}: {error}"

    says = played_thrice(run, agent).result().result
    assert "run" in says


async def test_outside_of_a_workflow_an_agent_is_what_it_was() -> None:
    agent = Agent(scripted(calls("look", {}), text("seen")), name="guide", capabilities=[Durable()])

    @agent.tool_plain
    def look() -> str:
        return "there"

    assert (await agent.run("go")).output == "seen"
