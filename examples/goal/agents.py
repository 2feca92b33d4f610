"""Two Pydantic AI agents, as anybody writes them. Of Segue they have one capability each: `Durable`."""

import os
import sys
from pathlib import Path

import httpx
from fastmcp.client.transports import StdioTransport
from pydantic_ai import Agent
from pydantic_ai.mcp import MCPToolset

from segue import current_attempt
from segue.agents import Durable

from .addresses import SHOP_PORT, SHOP_URL
from .models import Incident, Onset, RolledBack
from .offline import on_call_model, reader_model

PACKAGE = str(__package__)
ROOT = str(Path(__file__).parents[PACKAGE.count(".") + 1])
PYTHON = (sys.executable, "-m")
PYTHON_PATH = {"PYTHONPATH": ROOT}
"""So that the servers of this folder start from any working directory."""

START_S_MAX = 30
"""How long the MCP server may take to start, on a busy machine too."""

MODEL = os.environ.get("SEGUE_MODEL")


def shop() -> MCPToolset[object]:
    """The shop's MCP server. An agent keeps one of its own, in each worker."""
    env = PYTHON_PATH | {"GOAL_SHOP_URL": SHOP_URL, "GOAL_SHOP_PORT": str(SHOP_PORT)}
    command, *args = (*PYTHON, f"{PACKAGE}.shop_server")
    return MCPToolset(StdioTransport(command, args, env=env), id="shop", init_timeout=START_S_MAX)


log_reader = Agent(
    MODEL or reader_model(),
    name="log-reader",
    output_type=Onset,
    instructions=(
        "You find the minute in which a service began to fail. Its log is long: look at short times, and "
        "halve what is left between a minute when all was well and one when it was not."
    ),
    toolsets=[shop().filtered(lambda _, tool: tool.name == "search_log")],
    capabilities=[Durable(fallbacks=[reader_model()] if MODEL else [])],
)

on_call = Agent(
    MODEL or on_call_model(),
    name="on-call",
    output_type=Incident,
    instructions=(
        "You are on call for a shop. Services fail when those fail that they call: follow what is ill down "
        "to where it begins, have its log read, and see what was changed shortly before. Roll back one "
        "change at a time, the likeliest first, and look whether it helped. You are done when all is well "
        "again, or when no change is left that could be the cause."
    ),
    toolsets=[shop()],
    capabilities=[
        Durable(fallbacks=[on_call_model()] if MODEL else [], inline={"find_onset"}, approver="lead"),
    ],
)


@on_call.tool_plain
async def find_onset(service: str) -> Onset:
    """Have the log of a service read: when did it begin to fail, and with what?"""
    return (await log_reader.run(f"When did {service} begin to fail today, and with what?")).output


@on_call.tool_plain(requires_approval=True)
async def roll_back(change: str, reason: str) -> RolledBack:  # noqa: ARG001 - the person reads it
    """Roll back a change. A person is asked first, who reads the reason."""
    headers = {"Idempotency-Key": current_attempt().idempotency_key}
    async with httpx.AsyncClient(base_url=SHOP_URL, trust_env=False) as client:
        response = await client.post(f"/changes/{change}/rollback", headers=headers)
    return RolledBack.model_validate_json(response.raise_for_status().content)
