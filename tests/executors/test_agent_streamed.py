"""What a durable agent's models write is told, and the response is that of any request."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from pydantic import BaseModel
from pydantic_ai import Agent
from pydantic_ai.messages import ModelMessage, ModelResponse, TextPart
from pydantic_ai.models import Model
from pydantic_ai.models.function import AgentInfo, DeltaThinkingPart, DeltaToolCall, FunctionModel
from pydantic_ai.models.test import TestModel

from segue import App, Task, workflow
from segue.agents import Durable
from segue.streams.calls.failures import problem_of
from segue.streams.executors import ModelExecutor
from segue.topics.records import CallModel
from tests.agents import UNABLE, scripted, text
from tests.driver import Driver
from tests.executors.servers.provider import provider
from tests.executors.servers.streaming import Streamed
from tests.executors.servers.wires import Said
from tests.executors.told import Kept, telling


class Place(BaseModel):
    name: str
    quiet: bool


def commands(agent: Agent[Any, Any], *, streams: bool) -> list[CallModel]:
    """What the agent asks of its model in a run that streams, or in one that does not."""

    @workflow
    async def ask(task: Task) -> Any:
        if not streams:
            return (await agent.run("go")).output
        async with agent.run_stream("go") as response:
            return await response.get_output()

    driver = Driver(App("one", workflows=[ask], agents=[agent]))
    driver.submit("ask")
    driver.run()
    assert driver.result().outcome == "succeeded", driver.result().problem
    return driver.records("model-calls")


async def heard(agent: Agent[Any, Any], call: CallModel) -> tuple[Any, Kept]:
    """The answer to a command, made as the stage makes it, and what was told meanwhile."""
    executor, kept = ModelExecutor(App("one", workflows=[], agents=[agent])), Kept()
    if call.stream:
        told = telling(call, executor.candidate(call), kept)
        reply = await executor(call, told)
        told.end("finished")
    else:
        reply = await executor(call)
    return reply.result, kept


@pytest.mark.parametrize(("streams", "stream"), [(True, False), (False, True), (True, True)])
async def test_what_an_agents_model_writes_is_told(streams: bool, stream: bool) -> None:
    agent = Agent(scripted(text("a quiet one")), name="guide", capabilities=[Durable(stream=stream)])
    [call] = await asyncio.to_thread(commands, agent, streams=streams)
    response, kept = await heard(agent, call)
    assert kept.text == "a quiet one "
    assert {(record.route, record.step, record.candidate) for record in kept.records} == {
        ("guide", 0, "function:function:answer:stream")
    }
    assert kept.records[-1].state == "finished"
    assert [part["content"] for part in response["parts"]] == ["a quiet one "]


@pytest.mark.parametrize("model", UNABLE)
async def test_a_model_that_cannot_stream_tells_its_answer_in_one_piece(model: Model) -> None:
    agent = Agent(model, name="guide", capabilities=[Durable(stream=True)])
    [call] = await asyncio.to_thread(commands, agent, streams=False)
    response, kept = await heard(agent, call)
    assert [record.text for record in kept.records] == ["a quiet one"]
    assert [part["content"] for part in response["parts"]] == ["a quiet one"]


async def test_of_a_run_that_nobody_asked_to_stream_nothing_is_told() -> None:
    agent = Agent(scripted(text("a quiet one")), name="guide", capabilities=[Durable()])
    [call] = await asyncio.to_thread(commands, agent, streams=False)
    response, kept = await heard(agent, call)
    assert (kept.records, response["parts"][0]["content"]) == ([], "a quiet one")


async def test_a_structured_answer_is_told_and_calls_of_tools_are_not() -> None:
    model = TestModel(custom_output_args={"name": "Sol", "quiet": True})
    agent = Agent(model, name="guide", output_type=Place, capabilities=[Durable(stream=True)])

    @agent.tool_plain
    def look(where: str) -> str:
        return f"nothing at {where}"

    looking, answering = await asyncio.to_thread(commands, agent, streams=False)
    assert (await heard(agent, looking))[1].records == []
    assert (await heard(agent, answering))[1].text == '{"name":"Sol","quiet":true}'


async def test_of_a_response_with_all_kinds_of_parts_the_answer_alone_is_told() -> None:
    async def stream(messages: list[ModelMessage], info: AgentInfo) -> AsyncIterator[Any]:
        yield {0: DeltaThinkingPart(content="let me see")}
        yield {
            1: DeltaToolCall("look", '{"where": '),
            2: DeltaToolCall(info.output_tools[0].name, '{"name":'),
        }
        yield {1: DeltaToolCall(json_args='"sea"}'), 2: DeltaToolCall(json_args='"Sol","quiet":true}')}

    def answer(messages: list[ModelMessage], info: AgentInfo) -> ModelResponse:
        return ModelResponse(parts=[TextPart("Sol")])

    agent = Agent(
        FunctionModel(answer, stream_function=stream),
        name="guide",
        output_type=[Place, str],
        capabilities=[Durable(stream=True)],
    )

    @agent.tool_plain
    def look(where: str) -> str:
        return f"nothing at {where}"

    [call] = await asyncio.to_thread(commands, agent, streams=False)
    response, kept = await heard(agent, call)
    assert kept.text == '{"name":"Sol","quiet":true}'
    assert [part["part_kind"] for part in response["parts"]] == ["thinking", "tool-call", "tool-call"]


@pytest.mark.parametrize("streams", [True, False])
async def test_a_stream_that_breaks_off_is_a_failed_attempt_that_may_be_retried(
    streams: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with provider() as there:
        monkeypatch.setenv("OPENAI_BASE_URL", f"{there.url}/v1")
        monkeypatch.setenv("OPENAI_API_KEY", "sk-test")
        agent = Agent("openai-chat:gpt-4o", name="guide", capabilities=[Durable(stream=True)])
        there.next = Streamed(("a ", "quiet ", "one")) if streams else Said("a quiet one")
        [call] = await asyncio.to_thread(commands, agent, streams=streams)
        there.next = Streamed(("a ", "quiet ", "one"), breaks_after=2)
        with pytest.raises(Exception) as failure:  # noqa: PT011 - what it means is compared below
            await heard(agent, call)
        assert problem_of(failure.value).retryable
        assert problem_of(failure.value).traceback is None
        sent = there.sent[-1]
        assert (sent.body["stream"], sent.headers["idempotency-key"]) == (True, "t/0/0/0")
