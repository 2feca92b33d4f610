"""An agent that visits wells, two at a time, and notes each visit in a file: it shows what a kill repeats."""

import asyncio
import os
from pathlib import Path

from pydantic_ai import Agent
from pydantic_ai.messages import ModelMessage, ModelResponse, TextPart, ToolCallPart, ToolReturnPart
from pydantic_ai.models.function import AgentInfo, FunctionModel

from segue import App, Task, current_attempt, workflow
from segue.agents import Durable

WELLS = 32
VISIT_S = 0.05


def survey(messages: list[ModelMessage], info: AgentInfo) -> ModelResponse:
    parts = [part for message in messages for part in message.parts]
    found = [int(str(part.content)) for part in parts if isinstance(part, ToolReturnPart)]
    if len(found) < WELLS:
        return ModelResponse(parts=[ToolCallPart("visit", {"well": len(found) + ahead}) for ahead in (0, 1)])
    return ModelResponse(parts=[TextPart(f"the deepest of {len(found)} is {max(found)} m")])


surveyor = Agent(FunctionModel(survey), name="surveyor", capabilities=[Durable()])


def note(visit: str) -> None:
    with Path(os.environ["VISITS"]).open("a") as visits:
        visits.write(f"{visit}\n")


@surveyor.tool_plain
async def visit(well: int) -> int:
    note(f"{current_attempt().idempotency_key} {well}")
    await asyncio.sleep(VISIT_S)
    return well * 7 % WELLS


@workflow
async def find_water(task: Task, goal: str) -> str:
    return (await surveyor.run(goal)).output


app = App("agents", workflows=[find_water], agents=[surveyor])
