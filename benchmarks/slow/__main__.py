"""Thousands of calls of 2 s in flight on one worker: steps per second, and CPU and memory of a call.

A worker of its own (`segue worker`) is kept at so many tasks of three calls each, one after the other.
Possible is one step every 2 s for each task in flight. The tasks begin evenly over the time that one takes.
Kinds of calls:

    tools       functions that sleep            models     a model in the process that sleeps
    provider    a model over HTTP               streamed   the same, its answer in pieces
    openapi     a service over HTTP             blocking   functions that block their thread

The provider is a server on this machine (`benchmarks/slow/provider.py`). Memory of a call in flight is what
the worker's resident memory grew by, over the calls, with the task that waits for it. `fast` steps are those
of a task that makes 20 no-op calls, on the worker while it is idle and while it is loaded.

    python -m benchmarks.slow [--kinds tools models …] [--in-flight 2000 10000] [--seconds 18] [--rounds 1]
"""

import argparse
import asyncio
import os
import statistics
import sys
import time
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress
from typing import Any

from benchmarks.flood import ROOT, worker
from benchmarks.isolation import own_settings
from benchmarks.peers.servers import free_port, local_broker
from benchmarks.report import keep, measured
from benchmarks.slow.app import CALL_S, CALLS, STEPS
from benchmarks.slow.load import MB, TASK_S, Load, Used, load
from segue.streams.kafka.provisioning import provision
from segue.streams.settings import Settings

APP = os.environ.get("SLOW_APP", "benchmarks/slow/app.py")
WARM_UP_TASKS = 50
FAST_STEPS = 20
FAST_TASKS = 10
FAST_S_MAX = 60.0
DEFAULT_KINDS = ("tools", "models")


async def measure(settings: Settings, kind: str, in_flight: int, seconds: float) -> dict[str, Any]:
    """One kind of call at one load, on a worker and topics of its own."""
    await provision(settings)
    broker = Used.of((await local_broker(settings)).process.pid)
    async with load(settings) as client, worker(settings, APP) as process:
        await _warm_up(client, kind)
        idle_ms = await _fast(client)
        used = Used.of(process.pid)
        before = used.process.memory_info().rss
        watching = asyncio.create_task(used.watch())
        await client.fill(kind, in_flight)
        await client.keep(kind, TASK_S / 2)
        found = await _loaded(client, kind, seconds, used, broker)
        loaded_ms = await _fast_beside(client, kind)
        watching.cancel()
    return found | {
        "kind": kind,
        "in_flight": in_flight,
        "failed": client.failed,
        "possible_per_s": in_flight / CALL_S,
        "of_possible": round(found["steps_per_s"] / (in_flight / CALL_S), 3),
        "memory_kb_per_call": round((used.memory_max - before) / 1024 / in_flight, 1),
        "memory_mb": round(used.memory_max / MB),
        "fast_ms": {"idle": _quantiles(idle_ms), "loaded": _quantiles(loaded_ms)},
    }


async def _loaded(client: Load, kind: str, seconds: float, used: Used, broker: Used) -> dict[str, Any]:
    began_s, cpu_s, server_s = time.perf_counter(), used.since_s, broker.since_s
    ended = await client.keep(kind, seconds)
    duration_s = time.perf_counter() - began_s
    calls = max(1, ended * STEPS)
    cpu_s, server_s = used.since_s - cpu_s, broker.since_s - server_s
    return {
        "steps_per_s": round(ended * STEPS / duration_s, 1),
        "cpu_us_per_call": {"worker": round(cpu_s / calls * 1e6), "broker": round(server_s / calls * 1e6)},
        "cpu_percent": round(cpu_s / duration_s * 100),
    }


async def _warm_up(client: Load, kind: str) -> None:
    for _ in range(WARM_UP_TASKS):
        await client.submit("slow", kind)
    await client.drain(WARM_UP_TASKS)


async def _fast(client: Load) -> list[float]:
    return [ms for _ in range(FAST_TASKS) for ms in await client.fast_ms(FAST_STEPS)]


async def _fast_beside(client: Load, kind: str) -> list[float]:
    """Fast steps while as many slow ones as before are in flight; those that came within the time for it."""
    found: list[float] = []
    with suppress(TimeoutError):
        async with asyncio.timeout(FAST_S_MAX):
            for _ in range(FAST_TASKS):
                ended = client.ended
                found += await client.fast_ms(FAST_STEPS)
                for _ in range(client.ended - ended):
                    await client.submit("slow", kind)
    return found


def _quantiles(ms: list[float]) -> dict[str, float]:
    if not ms:
        return {}
    return {"p50": round(statistics.median(ms), 1), "p99": round(statistics.quantiles(ms, n=100)[98], 1)}


@asynccontextmanager
async def provider() -> AsyncGenerator[Process]:
    """The local provider; the environment tells workers where it is."""
    port = free_port()
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "benchmarks.slow.provider", str(port), cwd=ROOT, stdout=PIPE
    )
    assert process.stdout is not None
    await process.stdout.readline()
    os.environ |= {
        "SLOW_PROVIDER": f"http://127.0.0.1:{port}",
        "OPENAI_BASE_URL": f"http://127.0.0.1:{port}/v1",
        "OPENAI_API_KEY": "none",
    }
    try:
        yield process
    finally:
        process.kill()
        await process.wait()


async def run(kinds: list[str], loads: list[int], seconds: float, rounds: int) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = []
    async with provider():
        for _ in range(rounds):
            for kind in kinds:
                for in_flight in loads:
                    async with own_settings("slow") as settings:
                        rows.append(await measure(settings, kind, in_flight, seconds))
                    print(rows[-1], flush=True)
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--kinds", nargs="+", choices=list(CALLS), default=list(DEFAULT_KINDS))
    parser.add_argument("--in-flight", nargs="+", type=int, default=[2_000, 10_000])
    parser.add_argument("--seconds", type=float, default=18.0)
    parser.add_argument("--rounds", type=int, default=1)
    given = parser.parse_args()
    keep("slow", {"rows": measured(run(given.kinds, given.in_flight, given.seconds, given.rounds))})


if __name__ == "__main__":
    main()
