"""Workflows of every kind, whose results are computable from their inputs, and tools that keep a ledger.

Deterministic in what they answer, never in when: a tool's time depends on its arguments, and on whatever
the harness does to its process.
"""

import asyncio
import os
import re
from datetime import timedelta
from pathlib import Path
from typing import Any

from pydantic import BaseModel
from pydantic_ai import Agent
from pydantic_ai.messages import (
    ModelMessage,
    ModelRequest,
    ModelRequestPart,
    ModelResponse,
    TextPart,
    ToolCallPart,
    ToolReturnPart,
    UserPromptPart,
)
from pydantic_ai.models.function import AgentInfo, FunctionModel

from chaos.ledger import FOLDER, Ledger
from segue import (
    App,
    ModelRoute,
    OutputRejected,
    Permanent,
    Policy,
    Retryable,
    StepError,
    Task,
    Tool,
    ToolRoute,
    check,
    current_attempt,
    tool,
    workflow,
)
from segue.agents import Durable

LEDGER = Ledger(Path(os.environ[FOLDER]))

UNANSWERED = -1

# ---------------------------------------------------------------- tools


@tool(timeout_s=30, retries=10)
async def add(left: int, right: int) -> int:
    """Mostly quick; one in twenty takes a second, so that some calls are always in flight."""
    with LEDGER.executing("add", left, right):
        await asyncio.sleep(1.0 if (left + right) % 20 == 0 else 0.01)
        return left + right


@tool(timeout_s=30, retries=10, local=True)
async def add_here(left: int, right: int) -> int:
    """Mostly quick; one in fifty takes too long for a local tool."""
    with LEDGER.executing("add_here", left, right):
        await asyncio.sleep(0.2 if (left + right) % 50 == 0 else 0.001)
        return left + right


@tool(timeout_s=30, retries=10, backoff_s=0.1)
async def flaky(fails: int) -> int:
    with LEDGER.executing("flaky", fails):
        if current_attempt().attempt <= fails:
            raise Retryable("not yet")
        return fails


@tool(timeout_s=30, retries=0)
async def broken(text: str) -> str:
    with LEDGER.executing("broken", text):
        raise Permanent(f"no {text} today")


@tool(timeout_s=30, retries=10)
async def spare(text: str) -> str:
    with LEDGER.executing("spare", text):
        return f"spare {text}"


@tool(timeout_s=0.5, retries=30, backoff_s=0.1, backoff_s_max=1.0)
async def tardy(text: str) -> str:
    """Its first attempt answers after its deadline, whatever the caller did meanwhile."""
    with LEDGER.executing("tardy", text):
        if current_attempt().attempt == 1:
            await asyncio.shield(asyncio.create_task(asyncio.sleep(1.0)))
            return "too late"
        return text


primary_or_spare = ToolRoute("primary_or_spare", [broken, spare], output=str)

# ---------------------------------------------------------------- a model that listens to its critics


class Guess(BaseModel):
    number: int


def _told(messages: list[ModelMessage]) -> list[ModelRequestPart]:
    return [part for message in messages if isinstance(message, ModelRequest) for part in message.parts]


def guess(messages: list[ModelMessage], info: AgentInfo) -> ModelResponse:
    """Answers with the last number that it was told: the prompt's at first, then the critique's."""
    told = [str(part.content) for part in _told(messages) if isinstance(part, UserPromptPart)]
    first, *_ = re.findall(r"\d+", told[-1])
    return ModelResponse(parts=[ToolCallPart(info.output_tools[0].name, {"number": int(first)})])


@check
def is_number(output: Guess, wanted: int) -> None:
    if output.number != wanted:
        raise OutputRejected(f"{wanted} was wanted.")


guesser = ModelRoute(
    "guesser", [FunctionModel(guess, model_name="guesser")], policy=Policy(timeout_s=30, retries=10)
)

# ---------------------------------------------------------------- an agent that makes its rounds


def rounds(messages: list[ModelMessage], _: AgentInfo) -> ModelResponse:
    """Visits the stops that its prompt names, two at a time, and tells the sum of what it found there."""
    told = _told(messages)
    prompt = next(str(part.content) for part in told if isinstance(part, UserPromptPart))
    found = [int(str(part.content)) for part in told if isinstance(part, ToolReturnPart)]
    stops = [int(stop) for stop in re.findall(r"\d+", prompt)][len(found) :]
    if stops:
        return ModelResponse(parts=[ToolCallPart("visit", {"stop": stop}) for stop in stops[:2]])
    return ModelResponse(parts=[TextPart(str(sum(found)))])


TRIES = Policy(timeout_s=30, retries=10, backoff_s=0.1)
postman = Agent(
    FunctionModel(rounds, model_name="rounds"),
    name="postman",
    capabilities=[Durable(policy=TRIES, tool_policy=TRIES)],
)


@postman.tool_plain
async def visit(stop: int) -> int:
    """A stop whose number ends in 7 is not at home the first time."""
    with LEDGER.executing("visit", stop):
        await asyncio.sleep(0.02)
        if stop % 10 == 7 and current_attempt().attempt == 1:
            raise Retryable("nobody is at home")
        return 2 * stop


# ---------------------------------------------------------------- workflows


async def _summed(task: Task, adder: Tool[[int, int], int], numbers: list[int]) -> int:
    total = 0
    for number in numbers:
        total = await task.tool(adder, total, number)
    return total


@workflow
async def sequence(task: Task, numbers: list[int]) -> int:
    return await _summed(task, add, numbers)


@workflow
async def locally(task: Task, numbers: list[int]) -> int:
    return await _summed(task, add_here, numbers)


@workflow
async def fan_out(task: Task, numbers: list[int]) -> list[int]:
    return await task.gather(*(task.tool(add, left=number, right=number) for number in numbers))


@workflow
async def retries(task: Task, fails: int) -> int:
    return await task.tool(flaky, fails=fails)


@workflow
async def fallback(task: Task, text: str) -> str:
    return await task.tool(primary_or_spare, text=text)


@workflow
async def gives_up(task: Task, text: str) -> str:
    try:
        return await task.tool(broken, text=text)
    except StepError:
        return f"gave up {text}"


@workflow
async def late(task: Task, text: str) -> str:
    return await task.tool(tardy, text=text)


@workflow
async def timers(task: Task, waits_s: list[float]) -> int:
    slept = 0
    for wait_s in waits_s:
        await task.sleep(wait_s)
        slept = await task.tool(add, left=slept, right=1)
    return slept


@workflow
async def question(task: Task, number: int) -> int:
    picked = await task.ask("anybody", "Which?", options={"this": number, "that": number + 1})
    return await task.tool(add, left=picked, right=0)


@workflow
async def unanswered(task: Task, within_s: float) -> int:
    return await task.ask(
        "nobody", "Well?", answer=int, timeout=timedelta(seconds=within_s), default=UNANSWERED
    )


@workflow
async def signalled(task: Task, count: int) -> int:
    return sum([await task.signal("go", int) for _ in range(count)])


@workflow
async def children(task: Task, numbers: list[list[int]]) -> list[int]:
    return await task.gather(*(task.child(sequence, each) for each in numbers))


@workflow
async def cancelled(task: Task, number: int) -> None:
    """Waits until it is cancelled, and cleans up with a durable step."""
    try:
        await task.sleep(3600)
    finally:
        await task.tool(add, left=number, right=0)


@workflow
async def critique(task: Task, numbers: list[int]) -> int:
    first, wanted = numbers
    guessed = await task.model(guesser, f"Say {first}.", output=Guess, check=is_number(wanted=wanted))
    return guessed.number


@workflow
async def agent(_: Task, stops: list[int]) -> int:
    return int((await postman.run(f"Visit {stops}.")).output)


@workflow
async def fails(task: Task, number: int) -> Any:
    await task.tool(add, left=number, right=0)
    raise ValueError(f"{number} is not right")


app = App(
    "chaos",
    workflows=[
        sequence,
        locally,
        fan_out,
        retries,
        fallback,
        gives_up,
        late,
        timers,
        question,
        unanswered,
        signalled,
        children,
        cancelled,
        critique,
        agent,
        fails,
    ],
    routes=[primary_or_spare, guesser],
    tools=[add, add_here, flaky, broken, tardy],
    checks=[is_number],
    agents=[postman],
)
