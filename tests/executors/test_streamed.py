"""A streamed request, over real HTTP: what is told of it, and that its answer is that of any request."""

import asyncio
from collections.abc import AsyncGenerator

import pytest
from pydantic_ai.models import Model

from segue.processors.app.app import App
from segue.processors.routing.routes import ModelRoute
from segue.processors.stages.reply import Reply
from segue.streams.calls.failures import problem_of
from segue.streams.executors import ModelExecutor
from segue.topics.parts import Usage
from segue.topics.records import CallModel
from tests.agents import UNABLE
from tests.executors.calls import call_model
from tests.executors.servers.provider import Provider, provider
from tests.executors.servers.streaming import Streamed
from tests.executors.told import Kept, telling

CHAT, ANTHROPIC = "openai-chat:gpt-4o", "anthropic:claude-of-the-test"
EVERY = (CHAT, ANTHROPIC)
PLACE = {"type": "object", "properties": {"place": {"type": "string"}}, "required": ["place"]}
TOLD_S = 0.3
"""Longer than what is gathered is kept."""


@pytest.fixture
async def there(monkeypatch: pytest.MonkeyPatch) -> AsyncGenerator[Provider]:
    async with provider() as running:
        monkeypatch.setenv("OPENAI_BASE_URL", f"{running.url}/v1")
        monkeypatch.setenv("ANTHROPIC_BASE_URL", running.url)
        monkeypatch.setenv("OPENAI_API_KEY", "sk-test")
        monkeypatch.setenv("ANTHROPIC_API_KEY", "sk-test")
        yield running


async def ask(call: CallModel, candidate: str | Model, kept: Kept) -> Reply:
    executor = ModelExecutor(App("test", workflows=[], routes=[ModelRoute(call.route, [candidate])]))
    await executor.start()
    told = telling(call, executor.candidate(call), kept)
    try:
        return await executor(call, told)
    finally:
        told.end("finished")
        await executor.stop()


@pytest.mark.parametrize("candidate", EVERY)
async def test_what_is_told_is_the_answer_and_is_numbered(there: Provider, candidate: str) -> None:
    there.next, kept = Streamed(("a ", "quiet ", "one"), pause_s=TOLD_S), Kept()
    reply = await ask(call_model(stream=True), candidate, kept)
    assert (reply.result, reply.candidate) == ("a quiet one", candidate)
    assert reply.usage == Usage(model=_model(candidate), input_tokens=11, output_tokens=7)
    assert kept.text == "a quiet one"
    assert [record.number for record in kept.records] == list(range(len(kept.records)))
    assert [record.state for record in kept.records][-2:] == ["running", "finished"]
    assert 2 < len(kept.records) < 6


@pytest.mark.parametrize("candidate", EVERY)
async def test_a_structured_answer_is_told_as_the_json_that_it_is(there: Provider, candidate: str) -> None:
    there.next, kept = Streamed(('{"pla', 'ce": "Po', 'rto"}'), by_tool=True), Kept()
    reply = await ask(call_model(stream=True, output=PLACE), candidate, kept)
    assert reply.result == {"place": "Porto"}
    assert kept.text == '{"place": "Porto"}'


@pytest.mark.parametrize("candidate", EVERY)
async def test_a_stream_that_breaks_off_is_a_failed_attempt_that_may_be_retried(
    there: Provider, candidate: str
) -> None:
    there.next, kept = Streamed(("a ", "quiet ", "one"), breaks_after=2), Kept()
    with pytest.raises(Exception) as failure:  # noqa: PT011 - what it means is compared below
        await ask(call_model(stream=True), candidate, kept)
    assert problem_of(failure.value).retryable
    assert problem_of(failure.value).traceback is None


@pytest.mark.parametrize("model", UNABLE)
async def test_a_model_that_cannot_stream_tells_its_answer_in_one_piece(model: Model) -> None:
    kept = Kept()
    reply = await ask(call_model(stream=True), model, kept)
    assert (reply.result, [record.text for record in kept.records]) == ("a quiet one", ["a quiet one"])
    assert kept.records[-1].state == "finished"


async def test_many_pieces_are_few_records(there: Provider) -> None:
    there.next, kept = Streamed(tuple("abcdefghijklmnopqrstuvwxyz" * 20)), Kept()
    started_s = asyncio.get_running_loop().time()
    await ask(call_model(stream=True), CHAT, kept)
    duration_s = asyncio.get_running_loop().time() - started_s
    assert kept.text == "abcdefghijklmnopqrstuvwxyz" * 20
    assert len(kept.records) <= 3 + duration_s * 4


def _model(candidate: str) -> str:
    return "claude-of-the-test" if candidate == ANTHROPIC else "gpt-of-the-test"
