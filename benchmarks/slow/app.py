"""The app of the worker: tasks of three calls that take 2 s each, in each way that a call can be made."""

import asyncio
import os
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from pydantic_ai.messages import ModelMessage, ModelResponse, TextPart
from pydantic_ai.models.function import AgentInfo, FunctionModel

from segue import App, ModelRoute, OpenApi, Task, ToolRoute, current_attempt, tool, workflow

STEPS = 3
CALL_S = 2.0
PROVIDER = os.environ.get("SLOW_PROVIDER", "http://127.0.0.1:1")
"""The server of `provider.py`."""

LEDGER = os.environ.get("SLOW_LEDGER")
"""A file that gets a line for each call that begins."""


@tool(timeout_s=60)
async def sleeping(n: int) -> int:
    _note(current_attempt().idempotency_key)
    await asyncio.sleep(CALL_S)
    return n


@tool(timeout_s=60)
def blocking(n: int) -> int:
    time.sleep(CALL_S)
    return n


@tool(timeout_s=60)
async def stamp(n: int) -> float:  # noqa: ARG001 - so that each call is another
    """A fast step: when it was called."""
    return time.monotonic()


async def _answer(_: list[ModelMessage], __: AgentInfo) -> ModelResponse:
    await asyncio.sleep(CALL_S)
    return ModelResponse(parts=[TextPart("done")])


def _note(key: str) -> None:
    """One write of a short line is one piece, whatever kills the process."""
    if LEDGER is not None:
        with Path(LEDGER).open("ab", buffering=0) as file:
            file.write(f"{key}\n".encode())


function = ModelRoute("function", [FunctionModel(_answer, model_name="slow")])
provider = ModelRoute("provider", ["openai-chat:slow"])
openapi: ToolRoute[Any] = ToolRoute("openapi", [OpenApi(f"{PROVIDER}/openapi.json").tool("work")])

CALLS: dict[str, Callable[[Task, int], Awaitable[Any]]] = {
    "tools": lambda task, n: task.tool(sleeping, n=n),
    "models": lambda task, n: task.model(function, f"step {n}"),
    "provider": lambda task, n: task.model(provider, f"step {n}"),
    "streamed": lambda task, n: task.model(provider, f"step {n}", stream=True),
    "openapi": lambda task, n: task.tool(openapi, n=n),
    "blocking": lambda task, n: task.tool(blocking, n=n),
}


@workflow
async def slow(task: Task, kind: str) -> None:
    for n in range(STEPS):
        await CALLS[kind](task, n)


@workflow
async def fast(task: Task, steps: int) -> list[float]:
    return [await task.tool(stamp, n=n) for n in range(steps)]


APP = App(
    "slow",
    workflows=[slow, fast],
    tools=[sleeping, blocking, stamp],
    routes=[function, provider, openapi],
)
