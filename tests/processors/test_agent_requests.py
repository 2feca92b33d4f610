"""What an agent asks of models: each request is one step and, in each attempt, asked of a provider once."""

import asyncio
import warnings
from collections.abc import AsyncIterable
from typing import Any, ClassVar

import pytest
from pydantic_ai import Agent, RunContext
from pydantic_ai.capabilities import AbstractCapability
from pydantic_ai.messages import ModelMessage, ModelResponse
from pydantic_ai.models import ModelRequestContext, ModelRequestParameters
from pydantic_ai.models.function import AgentInfo, FunctionModel
from pydantic_ai.settings import ModelSettings

from segue import App, Policy, Task, workflow
from segue.agents import Durable
from tests.agents import asked, played, scripted, text
from tests.driver import Driver
from tests.executors.servers.provider import Failed, provider
from tests.executors.servers.wires import Said


async def streamed(agent: Agent[Any, str]) -> list[str]:
    async with agent.run_stream("go") as response:
        return [piece async for piece in response.stream_text(delta=True)]


async def by_events(agent: Agent[Any, str]) -> list[str]:
    async with agent.run_stream_events("go") as events:
        return [event.event_kind async for event in events]


async def by_nodes(agent: Agent[Any, str]) -> list[str]:
    async with agent.iter("go") as run:
        return [type(node).__name__ async for node in run]


async def with_handler(agent: Agent[Any, str]) -> list[str]:
    heard: list[str] = []

    async def hear(ctx: RunContext[Any], events: AsyncIterable[Any]) -> None:
        heard.extend([event.event_kind async for event in events])

    await agent.run("go", event_stream_handler=hear)
    return heard


@pytest.mark.parametrize("way", [streamed, by_events, by_nodes, with_handler])
def test_however_it_is_run_its_request_is_one_step(way: Any) -> None:
    agent = Agent(scripted(text("a quiet one")), name="guide", capabilities=[Durable()])

    async def run(task: Task) -> list[str]:
        return list(await way(agent))

    driver = played(run, agent)
    assert driver.result().outcome == "succeeded", driver.result().problem
    assert driver.result().result
    assert driver.result().steps == len(driver.ran) == 1
    crashed = played(run, agent, crashes={3: 0, 6: 0, 9: 0})
    assert crashed.result().result == driver.result().result


def test_what_is_streamed_reaches_the_workflow_whole() -> None:
    agent = Agent(scripted(text("a quiet one")), name="guide", capabilities=[Durable()])

    async def run(task: Task) -> list[str]:
        return await streamed(agent)

    driver = played(run, agent)
    assert "".join(driver.result().result).strip() == "a quiet one"
    assert asked(driver) == ["guide__model.request_stream"]


@pytest.mark.parametrize("way", [streamed, with_handler])
def test_a_request_of_a_run_that_streams_is_told_to_who_watches(way: Any) -> None:
    agent = Agent(scripted(text("a quiet one")), name="guide", capabilities=[Durable()])

    async def run(task: Task) -> Any:
        return await way(agent)

    assert [call.stream for call in played(run, agent).records("model-calls")] == [True]


def test_an_agent_may_have_all_its_requests_told_and_open_tasks_go_on() -> None:
    async def run(task: Task) -> str:
        return (await guide.run("go")).output

    guide = Agent(scripted(text("one")), name="guide", capabilities=[Durable()])
    silent = played(run, guide)
    guide = Agent(scripted(text("one")), name="guide", capabilities=[Durable(stream=True)])
    told = played(run, guide)
    [before], [since] = silent.records("model-calls"), told.records("model-calls")
    assert (before.stream, since.stream) == (False, True)
    assert (before.fingerprint, before.agent.operation) == (since.fingerprint, since.agent.operation)


async def test_a_provider_is_asked_once_for_each_attempt(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its client would try three times by itself."""
    async with provider() as there:
        monkeypatch.setenv("OPENAI_BASE_URL", f"{there.url}/v1")
        monkeypatch.setenv("OPENAI_API_KEY", "sk-test")
        there.next = Failed(503)
        policy = Policy(timeout_s=7, retries=1)
        agent = Agent("openai-chat:gpt-4o", name="guide", capabilities=[Durable(policy=policy)])

        async def run(task: Task) -> str:
            return (await agent.run("go")).output

        driver = await asyncio.to_thread(played, run, agent)
        assert driver.result().outcome == "failed"
        assert [sent.headers["idempotency-key"] for sent in there.sent] == ["t/0/0/0"] * 2
        assert {sent.headers["x-stainless-read-timeout"] for sent in there.sent} == {"7"}


async def test_what_an_agent_sets_for_itself_stands(monkeypatch: pytest.MonkeyPatch) -> None:
    async with provider() as there:
        monkeypatch.setenv("OPENAI_BASE_URL", f"{there.url}/v1")
        monkeypatch.setenv("OPENAI_API_KEY", "sk-test")
        there.next = Said("seen")
        settings = ModelSettings(timeout=3, extra_headers={"X-Team": "maps"})
        agent = Agent("openai-chat:gpt-4o", name="guide", model_settings=settings, capabilities=[Durable()])

        async def run(task: Task) -> str:
            return (await agent.run("go")).output

        driver = await asyncio.to_thread(played, run, agent)
        assert driver.result().result == "seen"
        [sent] = there.sent
        assert (sent.headers["x-team"], sent.headers["idempotency-key"]) == ("maps", "t/0/0/0")
        assert sent.headers["x-stainless-read-timeout"] == "3"


class Compacting(FunctionModel):
    """Knows how to make a conversation shorter, as some providers do."""

    async def compact_messages(
        self, request_context: ModelRequestContext, *, instructions: str | None = None
    ) -> ModelResponse:
        return text(f"{len(request_context.messages)} message, {instructions}")


class Compact(AbstractCapability[Any]):
    async def before_model_request(
        self, ctx: RunContext[Any], request_context: ModelRequestContext
    ) -> ModelRequestContext:
        short = await request_context.model.compact_messages(request_context, instructions="in short")
        request_context.model_settings = ModelSettings(stop_sequences=[short.text or ""])
        return request_context


def test_a_conversation_that_is_made_shorter_is_a_step() -> None:
    def answer(messages: list[ModelMessage], info: AgentInfo) -> ModelResponse:
        return text(str((info.model_settings or {}).get("stop_sequences")))

    agent = Agent(Compacting(answer), name="guide", capabilities=[Compact(), Durable()])

    async def run(task: Task) -> str:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the function model knows no stop sequences
            return (await agent.run("go")).output

    driver = played(run, agent)
    assert driver.result().result == "['1 message, in short']"
    assert asked(driver) == ["guide__model.compact_messages", "guide__model.request"]


class Pausing(FunctionModel):
    """Answers later: the first response is only begun, and is asked for again until it is complete."""

    later_s: float | None = None
    dropped: ClassVar[list[str]] = []

    def continuation_delay(self, response: ModelResponse) -> float | None:
        return self.later_s

    async def request(
        self,
        messages: list[ModelMessage],
        model_settings: ModelSettings | None,
        model_request_parameters: ModelRequestParameters,
    ) -> ModelResponse:
        said = await super().request(messages, model_settings, model_request_parameters)
        begun = isinstance(messages[-1], ModelResponse)
        said.state = "complete" if begun else "suspended"
        return said

    async def cancel_suspended_response(self, response: ModelResponse) -> None:
        self.dropped.append(response.text or "")


def test_a_response_that_pauses_is_a_step_for_each_part() -> None:
    model = Pausing(lambda messages, info: text("half"))
    agent = Agent(model, name="guide", capabilities=[Durable()])

    async def run(task: Task) -> str:
        return (await agent.run("go")).output

    driver = played(run, agent)
    assert driver.result().outcome == "succeeded", driver.result().problem
    assert asked(driver) == ["guide__model.request"] * 2


def test_what_a_model_still_works_on_is_called_off_with_the_task() -> None:
    model = Pausing(lambda messages, info: text("half"))
    model.later_s = 600.0
    agent = Agent(model, name="guide", capabilities=[Durable()])

    @workflow
    async def ask(task: Task) -> str:
        return (await agent.run("go")).output

    driver = Driver(App("one", workflows=[ask], agents=[agent]))
    driver.submit("ask")
    driver.run(until_ms=driver.now_ms + 60_000)
    driver.produce("signals", {"kind": "cancel", "task": "t"})
    driver.run()
    assert (driver.result().outcome, model.dropped) == ("cancelled", ["half"])
    assert asked(driver) == ["guide__model.request", "guide__model.cancel_suspended_response"]
