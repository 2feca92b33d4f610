"""Tools that call one outside service, which says who called it and how many did at once."""

import asyncio
import os
from functools import cache
from time import monotonic

import httpx

from segue import App, CircuitBreaker, Limit, Policy, Task, ToolRoute, current_attempt, tool, workflow

PAUSE_S = 0.3
OPEN_S = 3.0
PACED_PER_S = 2


@cache
def client() -> httpx.AsyncClient:
    """One for all calls of the worker: making one reads certificates, and holds its loop for so long.

    A call whose turn has come would then begin with those that come after it, faster than its limit.
    """
    return httpx.AsyncClient(timeout=60, trust_env=False)


async def visit(place: str) -> str:
    attempt = current_attempt()
    told = {
        "worker": os.environ["SEGUE_WORKER_ID"],
        "call": attempt.idempotency_key,
        "attempt": str(attempt.attempt),
        "begun": str(monotonic()),
    }
    answer = await client().get(f"{os.environ['SERVICE']}/{place}", headers=told)
    answer.raise_for_status()
    return answer.text


@tool
async def primary() -> str:
    return await visit("primary")


@tool
async def spare() -> str:
    return await visit("spare")


@tool(timeout_s=60, retries=0)
async def three() -> str:
    return await visit("three")


@tool(timeout_s=60, retries=0)
async def single() -> str:
    return await visit("single")


@tool(timeout_s=60, retries=0)
async def paced() -> str:
    return await visit("paced")


@tool(timeout_s=60, retries=0)
async def free() -> str:
    return await visit("free")


fetch = ToolRoute("fetch", [primary, spare], output=str, policy=Policy(retries=0, timeout_s=60))


@workflow
async def errands(task: Task) -> None:
    """Fetches again and again, until it is cancelled."""
    while True:
        await task.tool(fetch)
        await asyncio.sleep(PAUSE_S)


@workflow
async def crowd(task: Task, each: int) -> None:
    """Calls of all limits at once, again and again, until it is cancelled."""
    while True:
        await task.gather(*(task.tool(named) for named in (three, single, paced, free) for _ in range(each)))


app = App(
    "crowd",
    workflows=[errands, crowd],
    routes=[fetch],
    tools=[three, single, paced, free],
    circuit_breaker=CircuitBreaker(window_s=6, attempts_min=6, open_s=OPEN_S, probes=2),
    limits={
        "three": Limit(concurrent=3),
        "single": Limit(concurrent=1),
        "paced": Limit(per_minute=PACED_PER_S * 60),
    },
)
