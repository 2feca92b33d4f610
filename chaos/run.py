"""One run: a broker, workers, load and faults for so many minutes; then peace, until all tasks have ended.

start ─▶ load and faults, side by side ─▶ heal ─▶ wait for open tasks ─▶ stop workers ─▶ audit
"""

import asyncio
import contextlib
import time
from collections.abc import AsyncGenerator, Callable, Collection
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Literal

from chaos import faults, ledger
from chaos.audit import Findings, judge, records
from chaos.broker import Broker
from chaos.faults import Happened, Saboteur
from chaos.fleet import WORKER, Fleet, Member
from chaos.ledger import Execution
from chaos.outside import Outside
from chaos.proxy import Proxy
from chaos.stores import judge_stores
from segue.streams.kafka.provisioning import provision
from segue.streams.settings import Settings

WORKERS = 3
WARM_UP_S = 4.0
"""Load without faults, so that the first fault hits work."""

PATIENCE_S = 60.0
"""Without any task ending, in peace: what is open now is stuck. Far above any time-out or session."""

SETTLE_S = 3.0
"""For second results of tasks that ended, before workers are stopped."""

START_S_MAX = 180.0
"""Until a first task has ended; workers give way to whatever else runs on the machine."""

FLOWING_S_MAX = 60.0

POLL_S = 0.2

Say = Callable[[str], None]
Guarantee = Literal["exactly_once", "at_least_once"]


@dataclass(frozen=True)
class Plan:
    seed: int
    minutes: float
    guarantee: Guarantee = "exactly_once"
    tasks_per_s: float = 12.5
    worker: tuple[str, ...] = WORKER
    only: tuple[faults.Kind, ...] = ()
    """These kinds of faults; all if empty."""
    patience_s: float = PATIENCE_S
    has_veteran: bool = True
    """One worker lives as long as the run."""


@dataclass(frozen=True)
class Outcome:
    """What happened, and what the audit found."""

    plan: Plan
    outside: Outside
    happened: list[Happened]
    executions: list[Execution]
    findings: Findings
    members: list[Member]
    deaths: list[int]
    skipped: frozenset[faults.Kind] = frozenset()
    """Kinds of faults that were not possible here."""


async def run(plan: Plan, folder: Path, say: Say) -> Outcome:
    """All files go to `folder`, which must be empty: the broker's data, state and logs, the ledger."""
    broker = Broker(folder / "broker")
    settings = _settings(plan, folder, f"127.0.0.1:{broker.port}")
    async with _town(plan, folder, broker) as (proxy, fleet):
        await provision(settings)
        async with Outside(settings, plan.seed, plan.tasks_per_s) as outside:
            saboteur = Saboteur(broker, proxy, fleet, partial(_flowing, outside))
            await fleet.start(WORKERS)
            skipped = _impossible(fleet)
            if skipped:
                say(f"not possible here, so left out: {', '.join(sorted(skipped))} (docs/chaos.md says why)")
            await _break(plan, skipped, outside, saboteur, say)
            say(f"{len(outside.works)} tasks, {len(saboteur.happened)} faults; {len(outside.open)} are open")
            await _finish(outside, plan.patience_s)
            await fleet.stop()
        executions = ledger.read(folder / "ledger")
        exactly_once = plan.guarantee == "exactly_once"
        findings = judge(outside.works, await records(settings), executions, exactly_once)
        # At least once, a zombie may write between the records of a store.
        left = fleet.left if exactly_once else []
        findings.state += await judge_stores(settings, folder / "state", folder / "scratch", left)
    return Outcome(plan, outside, saboteur.happened, executions, findings, fleet.gone, fleet.deaths, skipped)


def _settings(plan: Plan, folder: Path, kafka: str) -> Settings:
    return Settings.load(
        kafka=kafka,
        topic_prefix="",
        guarantee=plan.guarantee,
        partitions=4,
        replication=1,
        state_dir=folder / "state",
        metrics_port=0,
        session_timeout_ms=round(faults.SESSION_TIMEOUT_S * 1000),
    )


@asynccontextmanager
async def _town(plan: Plan, folder: Path, broker: Broker) -> AsyncGenerator[tuple[Proxy, Fleet]]:
    proxy = Proxy(broker.proxy_port, broker.behind_port)
    env = _environment(plan, folder, broker)
    fleet = Fleet(folder, faults.WORKERS_MAX, env, plan.worker, plan.has_veteran)
    try:
        await broker.start()
        await proxy.start()
        yield proxy, fleet
    finally:
        fleet.kill_all()
        await proxy.stop()
        await broker.kill()


def _environment(plan: Plan, folder: Path, broker: Broker) -> dict[str, str]:
    settings = _settings(plan, folder, f"127.0.0.1:{broker.proxy_port}")
    return {
        "SEGUE_KAFKA": settings.bootstrap,
        "SEGUE_TOPIC_PREFIX": settings.topic_prefix,
        "SEGUE_GUARANTEE": settings.guarantee,
        "SEGUE_PARTITIONS": str(settings.partitions),
        "SEGUE_REPLICATION": str(settings.replication),
        "SEGUE_METRICS_PORT": "0",
        "SEGUE_SESSION_TIMEOUT_MS": str(settings.session_timeout_ms),
        ledger.FOLDER: str(folder / "ledger"),
    }


def _impossible(fleet: Fleet) -> frozenset[faults.Kind]:
    small = all(machine.is_small for machine in fleet.machines)
    return frozenset() if small else faults.NEEDS_SMALL_DISKS


async def _flowing(outside: Outside, at_s: float) -> None:
    """Until on every partition a task ended that was asked for later; if none does, the figures will tell."""
    with contextlib.suppress(TimeoutError):
        await _until(lambda: outside.flows_since(at_s), FLOWING_S_MAX)


async def _break(
    plan: Plan, skipped: Collection[faults.Kind], outside: Outside, saboteur: Saboteur, say: Say
) -> None:
    """For so many minutes from when work flows."""
    load = asyncio.create_task(outside.submit())
    await _until(lambda: len(outside.ended_s) > 0, START_S_MAX)
    await asyncio.sleep(WARM_UP_S)
    until_s = time.monotonic() + plan.minutes * 60
    for fault in faults.drawn(plan.seed):
        if time.monotonic() + fault.peace_s + fault.lasts_s > until_s:
            break
        if fault.kind in skipped or (plan.only and fault.kind not in plan.only):
            continue
        await asyncio.sleep(fault.peace_s)
        await saboteur.make(fault)
        at_s = time.monotonic() - until_s + plan.minutes * 60
        say(f"{at_s:6.1f} s  {saboteur.happened[-1].kind:10}  {len(outside.open)} open")
    await asyncio.sleep(until_s - time.monotonic())
    load.cancel()


async def _finish(outside: Outside, patience_s: float) -> None:
    """Until all have ended, or none did for so long that the rest is stuck."""
    ended, since_s = len(outside.ended_s), time.monotonic()
    while outside.open and time.monotonic() - since_s < patience_s:
        await asyncio.sleep(POLL_S)
        if len(outside.ended_s) > ended:
            ended, since_s = len(outside.ended_s), time.monotonic()
    await asyncio.sleep(SETTLE_S)


async def _until(true: Callable[[], bool], seconds: float) -> None:
    async with asyncio.timeout(seconds):
        while not true():  # noqa: ASYNC110 - what is waited for is other processes' doing
            await asyncio.sleep(POLL_S)
