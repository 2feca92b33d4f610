"""An agent with a goal, whole: its worker is killed five times, and the shop is mended all the same.

The shop runs in a process of its own and is never killed: what it was asked for stands in its ledger.
"""

import asyncio
import sys
from collections.abc import AsyncGenerator, Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import httpx
import pytest_asyncio

from examples.goal.app import SAMPLE
from examples.goal.models import Incident
from segue.streams.client.client import Client
from segue.streams.kafka.provisioning import provision
from segue.streams.settings import Settings
from segue.topics.records import Question, Result, Status
from tests.kafka.conftest import free_port, worker_environment
from tests.kafka.wire import Wire, wire

ROOT = Path(__file__).parents[2]
PATIENCE_S = 240.0
LOOKS_BEFORE_A_KILL = (4, 14, 24)
"""How often the shop was looked into: among the services, before their log, and halfway through it."""

LOOKS = 37
"""In all, where nothing is killed."""

AT_ONCE = 5
"""So many calls of one response may be under way at a kill, and are made again."""

MENDED = Incident(
    resolved=True,
    affected=["storefront", "checkout", "payments", "fraud", "scores"],
    cause="config-771",
    rolled_back=["deploy-2237", "config-771"],
    summary="It began in scores at 13:12: PoolTimeout: no database connection within 500 ms "
    "(pool of 4, 61 waiting). Rolling back config-771 mended it.",
)
T = TypeVar("T")


@dataclass
class Night:
    """One incident: a broken shop, and a worker in place of the one before, who calls it over a wire."""

    client: Client
    env: dict[str, str]
    shop: httpx.AsyncClient
    wire: Wire
    processes: list[asyncio.subprocess.Process] = field(default_factory=list[asyncio.subprocess.Process])

    async def run(self, *module: str) -> asyncio.subprocess.Process:
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", *module, env=self.env, cwd=ROOT, stdout=asyncio.subprocess.DEVNULL
        )
        self.processes.append(process)
        return process

    async def work(self) -> None:
        """The worker that there is, if any, dies on the spot; another takes its place."""
        _, *workers = self.processes
        if workers:
            workers[-1].kill()
            await workers[-1].wait()
        await self.run("segue.streams.cli", "worker", "examples/goal")

    async def end(self) -> None:
        for process in self.processes:
            if process.returncode is None:
                process.kill()
            await process.wait()

    async def ledger(self, of: str) -> dict[str, Any]:
        return dict((await self.shop.get(f"/{of}")).json())

    async def looks(self) -> int:
        answered = await self.ledger("requests")
        return sum(count for kind, count in answered.items() if kind != "rollback")

    async def looked(self, task: str, times: int) -> None:
        """Returns when the shop was looked into so often for the task."""
        await until(lambda: self._looked(task, times))

    async def _looked(self, task: str, times: int) -> bool | None:
        await self.open(task)
        return True if await self.looks() >= times else None

    async def question(self, task: str, but: int | None = None) -> Question:
        """The question that the task asks, as soon as it does; not the one at that step."""
        return await until(lambda: self._asking(task, but))

    async def _asking(self, task: str, but: int | None) -> Question | None:
        status = await self.open(task)
        return next((q for q in (status.questions if status else ()) if q.step != but), None)

    async def open(self, task: str) -> Status | None:
        """None as long as no worker has taken it up."""
        status = next((each for each in await self.client.statuses() if each.task == task), None)
        assert status is None or status.state in ("running", "waiting"), status
        return status


async def until(look: Callable[[], Awaitable[T | None]]) -> T:
    async with asyncio.timeout(PATIENCE_S):
        while (found := await look()) is None:  # noqa: ASYNC110 - other processes have no event to set
            await asyncio.sleep(0.05)
        return found


@pytest_asyncio.fixture
async def night(settings: Settings) -> AsyncGenerator[Night]:
    await provision(settings)
    port = free_port()
    shop = httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", trust_env=False)
    async with Client(settings) as client, shop, wire(port) as to:
        urls = {"GOAL_SHOP_PORT": str(port), "GOAL_SHOP_URL": f"http://127.0.0.1:{to.port}"}
        there = Night(client, worker_environment(settings) | urls, shop, to)
        await there.run("examples.goal.shop_service")
        await until(lambda: ready(there))
        yield there
        await there.end()


async def ready(night: Night) -> bool | None:
    try:
        return await night.looks() == 0
    except httpx.TransportError:
        return None


async def test_killed_five_times_the_agent_reaches_its_goal(night: Night) -> None:
    """Three times while it searches, once while a person thinks, once before it knows what the shop did."""
    await night.work()
    task = await night.client.start("resolve", SAMPLE)
    for looks in LOOKS_BEFORE_A_KILL:
        await night.looked(task, looks)
        await night.work()
    first = await night.question(task)
    assert (first.to, await night.ledger("rollbacks")) == ("lead", {})
    assert "May on-call call roll_back with change=deploy-2237 " in first.text
    await night.work()
    night.wire.hold()
    await night.client.answer(task, True, step=first.step)
    await until(lambda: rolled_back(night))
    await night.work()
    night.wire.release()
    second = await night.question(task, but=first.step)
    await night.client.answer(task, True, step=second.step)
    result = await night.client.result(task, PATIENCE_S)
    assert_mended(result)
    made = await night.ledger("rollbacks")
    assert list(made.values()) == MENDED.rolled_back
    assert await night.looks() <= LOOKS + AT_ONCE * len(night.processes)


async def test_undisturbed_it_reaches_the_same(night: Night) -> None:
    await night.work()
    task = await night.client.start("resolve", SAMPLE)
    step = None
    for _ in MENDED.rolled_back:
        step = (await night.question(task, but=step)).step
        await night.client.answer(task, True, step=step)
    assert_mended(await night.client.result(task, PATIENCE_S))
    assert await night.looks() == LOOKS


async def test_what_the_lead_refuses_is_not_rolled_back_and_the_agent_ends_with_what_it_found(
    night: Night,
) -> None:
    await night.work()
    task = await night.client.start("resolve", SAMPLE)
    step = None
    for change in MENDED.rolled_back:
        question = await night.question(task, but=step)
        assert f"May on-call call roll_back with change={change} " in question.text
        step = question.step
        await night.client.answer(task, False, step=step)
    result = await night.client.result(task, PATIENCE_S)
    assert result.outcome == "succeeded", result.problem
    report = Incident.model_validate(result.result)
    assert (report.resolved, report.cause, report.rolled_back) == (False, None, [])
    assert report.summary.endswith("No change that may be rolled back accounts for it: a person is needed.")
    assert await night.ledger("rollbacks") == {}


async def rolled_back(night: Night) -> bool | None:
    return True if await night.ledger("rollbacks") else None


def assert_mended(result: Result) -> None:
    assert result.outcome == "succeeded", result.problem
    assert Incident.model_validate(result.result) == MENDED
    assert result.steps > 50
