"""A clerk that reads letter after letter, until its conversation is larger than any record."""

import asyncio
import os
from pathlib import Path
from typing import Any

from pydantic_ai import Agent
from pydantic_ai.messages import ModelMessage, ModelResponse, TextPart, ToolCallPart, ToolReturnPart
from pydantic_ai.models.function import AgentInfo, FunctionModel
from pydantic_core import to_jsonable_python

from segue import App, Task, current_attempt, tool, workflow
from segue.agents import Durable

LETTERS = 10
LETTER = "the-fox-sleeps-in-the-mill " * 10_000
PAUSED_AT = (5, 8)


def read_in(messages: list[ModelMessage]) -> list[str]:
    parts = [part for message in messages for part in message.parts]
    return [str(part.content) for part in parts if isinstance(part, ToolReturnPart)]


def answer(messages: list[ModelMessage], info: AgentInfo) -> ModelResponse:
    read = read_in(messages)
    assert read == [f"{number} {LETTER}" for number in range(len(read))]
    if len(read) < LETTERS:
        return ModelResponse(parts=[ToolCallPart("letter", {"number": len(read)})])
    return ModelResponse(parts=[TextPart(f"read {len(read)}")])


clerk = Agent(FunctionModel(answer), name="clerk", capabilities=[Durable()])


@clerk.tool_plain
async def letter(number: int) -> str:
    """Notes each call; waits at some until a file says that it may go on."""
    folder = Path(os.environ["LETTERS"])
    with (folder / "calls").open("a") as calls:
        calls.write(f"{current_attempt().idempotency_key} {number}\n")
    while number in PAUSED_AT and not (folder / f"go-{number}").exists():  # noqa: ASYNC110 - told by a file
        await asyncio.sleep(0.05)
    return f"{number} {LETTER}"


@tool
async def letters_in(history: list[Any]) -> int:
    return sum(part["part_kind"] == "tool-return" for message in history for part in message["parts"])


@workflow
async def filing(task: Task, history: list[Any]) -> list[Any]:
    """Its input and its result are larger than a record."""
    assert await task.tool(letters_in, history) == LETTERS
    return history


@workflow
async def reading(task: Task) -> tuple[str, int, Any]:
    run = await clerk.run("Read them all.")
    history = to_jsonable_python(run.all_messages())
    return run.output, await task.tool(letters_in, history), await task.child(filing, history)


app = App("conversations", workflows=[reading, filing], tools=[letters_in], agents=[clerk])
