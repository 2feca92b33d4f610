"""What a model writes reaches who watches: from a provider that streams, through a worker and Kafka."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
from pydantic_ai import Agent
from pydantic_ai.models import infer_model

from segue.processors.agents.durable import Durable
from segue.processors.app.app import App
from segue.processors.app.decorators import workflow
from segue.processors.routing.policy import Policy
from segue.processors.routing.routes import ModelRoute
from segue.processors.views.token_stream import Piece
from segue.processors.workflow.task import Task
from segue.streams.client.client import Client
from segue.streams.client.token_reader import listen
from segue.streams.engine.worker import Worker
from segue.streams.kafka.reader import Reader
from segue.streams.settings import Settings
from segue.topics.envelope import is_sealed
from segue.topics.records import StepSucceeded
from tests.executors.servers.provider import Provider, provider
from tests.executors.servers.streaming import Streamed
from tests.streams.keyfiles import key_file

PATIENCE_S = 60.0
TEXT = ("There ", "is ", "a ", "quiet ", "one ", "by ", "the ", "sea.")
PAUSE_S = 0.3

MODEL = "openai-chat:gpt-4o"
POLICY = Policy(timeout_s=30, retries=2, backoff_s=0.01)
rank = ModelRoute("rank", [MODEL], policy=POLICY)
guide = Agent(MODEL, name="guide", capabilities=[Durable(policy=POLICY, stream=True)], defer_model_check=True)


@workflow
async def recommend(task: Task, request: str) -> str:
    return await task.model(rank, request, stream=True)


@workflow
async def silently(task: Task, request: str) -> str:
    return await task.model(rank, request)


@workflow
async def guided(task: Task, request: str) -> str:
    return (await guide.run(request)).output


APP = App("tokens", workflows=[recommend, silently, guided], routes=[rank], agents=[guide])


@pytest_asyncio.fixture
async def there(monkeypatch: pytest.MonkeyPatch) -> AsyncGenerator[Provider]:
    async with provider() as running:
        monkeypatch.setenv("OPENAI_BASE_URL", f"{running.url}/v1")
        monkeypatch.setenv("OPENAI_API_KEY", "sk-test")
        infer_model(MODEL)  # what it loads takes a while, and the time-out of a first call would run
        yield running


@pytest_asyncio.fixture
async def working(settings: Settings, there: Provider, tmp_path: Path) -> AsyncGenerator[Settings]:
    """A worker that encrypts runs."""
    keys = key_file(tmp_path / "keys.json", "one")
    sealed = settings.model_copy(update={"encryption_keys": keys})
    worker = Worker(APP, sealed)
    await worker.start()
    await worker.ready()
    yield sealed
    await worker.stop()


async def all_of(pieces: AsyncIterator[Piece]) -> list[Piece]:
    async with asyncio.timeout(PATIENCE_S):
        return [piece async for piece in pieces]


def shown(pieces: list[Piece]) -> str:
    text = ""
    for piece in pieces:
        text = ("" if piece.anew else text) + piece.text
    return text


@pytest.mark.parametrize("writer", ["recommend", "guided"])
async def test_a_text_is_watched_live_and_anew_when_its_attempt_broke_off(
    writer: str, working: Settings, there: Provider
) -> None:
    there.next = Streamed(TEXT, pause_s=PAUSE_S, breaks_after=4)
    pieces: list[Piece] = []
    async with Client(working) as client:
        task = await client.start(writer, "a quiet place")
        async for piece in client.tokens(task):
            if piece.state == "superseded":
                assert "".join(TEXT[:4]).startswith(shown(pieces))
            elif piece.anew:
                assert (await client.status(task)).state == "running"
            pieces.append(piece)
        result = await client.result(task, PATIENCE_S)
        assert result.result == shown(pieces) == "".join(TEXT)
        assert result.spent is not None
        assert (result.spent.input_tokens, result.spent.output_tokens) == (11, 7)
        (broken,) = [piece.attempt for piece in pieces if piece.state == "superseded"]
        assert (pieces[-1].state, pieces[-1].attempt) == ("finished", broken + 1)
        assert [piece.offset for piece in pieces] == sorted({piece.offset for piece in pieces})

        middle = len(pieces) - 2
        assert await all_of(client.tokens(task, after=pieces[middle].offset)) == pieces[middle + 1 :]
        outcomes = [r for r in await client.history(task) if b"step_succeeded" in (r.value or b"")]
        assert len(outcomes) == 1, "the step's outcome stays one record"
        outcome = StepSucceeded.model_validate_json(outcomes[0].value or b"").result
        assert "".join(TEXT) == (outcome if writer == "recommend" else outcome["parts"][0]["content"])

    clear = working.model_copy(update={"encryption_keys": None})
    async with Reader(clear) as reader:
        place = reader.partition_of("tokens", task)
        starts, ends = await reader.beginnings([place]), await reader.ends([place])
        stored = [record async for record in reader.read(starts, ends)]
    assert len(stored) >= len(pieces)
    assert all(is_sealed(record.value) for record in stored)


async def test_who_comes_too_late_gets_what_is_kept_and_waits_for_nothing(
    working: Settings, there: Provider
) -> None:
    there.next = Streamed(TEXT)
    async with Client(working) as client:
        task = await client.start("recommend", "a quiet place")
        await client.result(task, PATIENCE_S)
        assert shown(await all_of(client.tokens(task))) == "".join(TEXT), "with the client that started it"
        since_ms = (await client.status(task)).started_ms
    async with Client(working) as other:
        assert shown(await all_of(other.tokens(task))) == "".join(TEXT)
    async with Reader(working) as reader:
        unaware = listen(reader, task, since_ms, None, ended=False)
        assert shown(await all_of(unaware)) == "".join(TEXT), (
            "with a status that does not tell of the end yet"
        )


async def test_a_step_that_nobody_asked_to_stream_tells_nothing(working: Settings, there: Provider) -> None:
    async with Client(working) as client:
        task = await client.start("silently", "a quiet place")
        await client.result(task, PATIENCE_S)
        assert await all_of(client.tokens(task)) == []
    assert "stream" not in there.sent[0].body or there.sent[0].body["stream"] is not True
