"""Tools that answer badly, or not at all; and one that does when they don't."""

import os
import sys
from typing import Any

from segue import App, McpServer, Policy, StepError, Task, Tool, ToolRoute, tool, workflow

rude = McpServer("rude", (sys.executable, os.environ["RUDE_SERVER"]))
silent = McpServer("silent", (sys.executable, "-c", "import time; time.sleep(600)"))
ONCE = Policy(retries=0, timeout_s=120)


@tool(retries=0)
async def large() -> str:
    return "x" * 50_000_000


@tool(retries=0)
async def forbidden() -> int:
    return "many"  # type: ignore[return-value]


@tool(retries=0)
def no_text() -> str:
    """As `os.listdir` has names that are no UTF-8."""
    return "caf\udce9.txt"


@tool(retries=0)
async def no_number() -> float:
    return float("nan")


@tool(retries=0)
async def raises_no_text() -> str:
    raise ValueError("caf\udce9.txt is not there")


@tool(retries=0)
async def interrupts() -> str:
    raise KeyboardInterrupt("by the tool itself")


@tool
async def good() -> str:
    return "good"


CASES = {
    "forbidden": rude.tool("forbidden"),
    "large": rude.tool("large"),
    "dies": rude.tool("dies"),
    "hangs": silent.tool("any"),
    "instructs": rude.tool("instructs"),
}


def route(name: str, policy: Policy, *more: object) -> ToolRoute[object]:
    return ToolRoute(f"{name}_by_mcp", [CASES[name], *more], policy=policy)  # type: ignore[list-item]


routes = [
    route("forbidden", ONCE),
    route("large", Policy(retries=0, timeout_s=120, result_bytes_max=10_000_000)),
    route("dies", Policy(retries=1, backoff_s=0.01, timeout_s=60), good),
    route("instructs", ONCE),
    route("hangs", Policy(retries=0, timeout_s=2), good),
]


tools: list[Tool[..., Any]] = [large, forbidden, no_text, no_number, raises_no_text, interrupts]


@workflow
async def meet(task: Task) -> dict[str, str]:
    """What comes of each, one after the other: the answer, or why there is none."""
    came: dict[str, str] = {}
    for name in [*(each.name for each in routes), *(each.name for each in tools)]:
        try:
            came[name] = str(await task.tool(name))
        except StepError as failed:
            came[name] = f"failed: {failed}"
    return came


app = App("rude", workflows=[meet], routes=routes, tools=[*tools, good])
