"""What durability adds to a step of an agent: the same Pydantic AI agent run bare, and by Segue on Kafka.

An agent calls a tool 24 times, one call for each response, and answers: 49 steps, requests and calls. Its
model answers at once, so that all of the time is the agent's own, or Segue's. One task at a time, all stages
in this one process. Bare and both guarantees are interleaved over the rounds; figures are medians.

    python -m benchmarks.agent [--rounds 5]
"""

import argparse
import statistics
import tempfile
import time
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Literal

from pydantic_ai import Agent
from pydantic_ai.messages import ModelMessage, ModelResponse, TextPart, ToolCallPart
from pydantic_ai.models.function import AgentInfo, FunctionModel

from benchmarks.raw import delete_topics
from benchmarks.report import keep, measured
from segue import App, Task, workflow
from segue.agents import Durable
from segue.streams.client.client import Client
from segue.streams.engine.worker import Worker
from segue.streams.local.broker import ensure_broker
from segue.streams.process.garbage_collection import look_for_garbage_less_often
from segue.streams.settings import Settings
from segue.topics import contracts

CALLS = 24
STEPS = 2 * CALLS + 1
TASKS = 10
"""In a round, after one to warm up."""

PATIENCE_S = 60.0
Guarantee = Literal["exactly_once", "at_least_once"]
GUARANTEES: tuple[Guarantee, ...] = ("exactly_once", "at_least_once")
RESULT = "x" * 200


def answer(messages: list[ModelMessage], _: AgentInfo) -> ModelResponse:
    said = sum(isinstance(message, ModelResponse) for message in messages)
    return ModelResponse(parts=[ToolCallPart("look", {"at": said}) if said < CALLS else TextPart("seen")])


explorer = Agent(FunctionModel(answer), name="explorer", capabilities=[Durable()])


@explorer.tool_plain
async def look(at: int) -> str:  # noqa: ARG001 - so that each call is another
    return RESULT


@workflow
async def explore(_: Task, goal: str) -> str:
    return (await explorer.run(goal)).output


APP = App("benchmark-agent", workflows=[explore], agents=[explorer])


async def bare() -> list[float]:
    """Each run, in ms for a step. Outside of a workflow the agent is what it was."""
    return [await _timed_bare() for _ in range(1 + TASKS)][1:]


async def _timed_bare() -> float:
    begin = time.perf_counter()
    await explorer.run("go")
    return (time.perf_counter() - begin) * 1000 / STEPS


async def durable(guarantee: Guarantee) -> list[float]:
    async with running(guarantee) as client:
        return [await _timed(client) for _ in range(1 + TASKS)][1:]


async def _timed(client: Client) -> float:
    begin = time.perf_counter()
    result = await client.result(await client.start("explore", "go"), PATIENCE_S)
    duration_ms = (time.perf_counter() - begin) * 1000
    if (result.outcome, result.steps) != ("succeeded", STEPS):
        raise SystemExit(f"the agent came to nothing: {result}")
    return duration_ms / STEPS


@asynccontextmanager
async def running(guarantee: Guarantee) -> AsyncGenerator[Client]:
    """A worker with topics and state of its own, which are gone afterwards."""
    given = Settings.load()
    with tempfile.TemporaryDirectory() as directory:
        own = {
            "topic_prefix": f"bench-agent-{guarantee}-{time.time_ns()}.",
            "guarantee": guarantee,
            "metrics_port": 0,
            "kafka": given.bootstrap,
            "state_dir": Path(directory),
        }
        settings = given.model_copy(update=own)
        worker = Worker(APP, settings)
        await worker.start()
        await worker.ready()
        look_for_garbage_less_often()  # as `segue worker` does
        try:
            async with Client(settings) as client:
                yield client
        finally:
            await worker.stop()
            await delete_topics(settings, [topic.name for topic in contracts.ALL])


async def measure(rounds: int) -> dict[str, Any]:
    await ensure_broker(Settings.load())
    found: dict[str, list[float]] = {"bare": [], **{guarantee: [] for guarantee in GUARANTEES}}
    for number in range(rounds):
        found["bare"] += await bare()
        for guarantee in GUARANTEES:
            found[guarantee] += await durable(guarantee)
        now = ", ".join(f"{how} {statistics.median(ms):.2f}" for how, ms in found.items())
        print(f"round {number + 1}, ms for a step: {now}", flush=True)
    return {how: _row(ms, statistics.median(found["bare"])) for how, ms in found.items()}


def _row(ms: list[float], bare_ms: float) -> dict[str, float]:
    middle = statistics.median(ms)
    return {
        "step_ms_p50": round(middle, 2),
        "step_ms_p90": round(statistics.quantiles(ms, n=10)[8], 2),
        "added_ms": round(middle - bare_ms, 2),
        "times_bare": round(middle / bare_ms, 2),
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=5)
    given = parser.parse_args()
    keep("agent", {"steps": STEPS, "rows": measured(measure(given.rounds))})


if __name__ == "__main__":
    main()
