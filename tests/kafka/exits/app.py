"""Code that exits, wherever a worker runs it."""

import asyncio
import sys
from typing import Any

from segue import App, StepError, Task, Tool, tool, workflow


@tool(retries=0)
async def exits() -> None:
    sys.exit(3)


@tool(retries=0)
def exits_in_a_thread() -> None:
    raise GeneratorExit("in a thread")


@tool(retries=0, timeout_s=5)
async def closes() -> None:
    raise GeneratorExit("by the tool itself")


@tool(retries=0, local=True)
async def exits_locally() -> None:
    raise KeyboardInterrupt("by a local tool")


async def leave() -> None:
    sys.exit("in a task of its own")


@tool(retries=0)
async def exits_in_a_task() -> None:
    await asyncio.gather(leave(), asyncio.sleep(0.1))


TOOLS: list[Tool[..., Any]] = [exits, exits_in_a_thread, closes, exits_locally, exits_in_a_task]


@workflow
async def meets(task: Task) -> dict[str, str]:
    came: dict[str, str] = {}
    for each in TOOLS:
        try:
            await task.tool(each)
        except StepError as error:
            came[each.name] = error.problem.message
    return came


@workflow
async def interrupts(task: Task) -> None:
    raise KeyboardInterrupt("by the workflow itself")


app = App("exits", workflows=[meets, interrupts], tools=TOOLS)
