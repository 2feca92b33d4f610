"""The page while a worker is flooded, and beside a large topic of dead letters.

    python -m benchmarks.page [--tasks 1500] [--seconds 90] [--letters-mb 500]

First `segue dev examples/travel` runs and serves the page. So many trips are asked for at once; for so many
seconds the list and the page of one trip are loaded in turns. What is measured: the seconds until each page
is there.

Then `segue ui` serves a topic with so many megabytes of dead letters, of 900 KB each, and `/dead-letters`
is loaded again and again. What is measured: the seconds of each view and the resident memory of the process.
"""

import argparse
import asyncio
import os
import statistics
import sys
import tempfile
import time
from asyncio.subprocess import Process
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import psutil
from aiokafka import AIOKafkaProducer
from pydantic_core import to_json

from benchmarks.report import keep, measured
from segue.streams.kafka.provisioning import provision
from segue.streams.local.broker import ensure_broker, stop_broker
from segue.streams.settings import Settings

ROOT = Path(__file__).parents[1]
STOP_S_MAX = 60.0
PAGE_S_MAX = 300.0
LETTER_BYTES = 900_000
VIEWS = 20
BREATH_S = 0.2
"""Between views."""

MB = 2**20


TRIP = to_json({"workflow": "book_trip", "input": "a beach hotel near Porto in May, max 120"})


async def flooded(settings: Settings, tasks: int, seconds: float) -> dict[str, Any]:
    """Seconds of the list and of one task's page, while the tasks run."""
    await provision(settings)
    async with segue(settings, "dev", "examples/travel") as (_, url), browser(url) as looks:
        await send(settings, tasks)
        began_s, seen = time.perf_counter(), {"list": list[float](), "task": list[float]()}
        while time.perf_counter() - began_s < seconds:
            seen["list"].append(await view_s(looks, "/"))
            seen["task"].append(await view_s(looks, f"/tasks/flood-{tasks // 2}"))
            print({name: round(found[-1], 2) for name, found in seen.items()}, file=sys.stderr)
            await asyncio.sleep(BREATH_S)
    return {"tasks": tasks, "views_s": {name: _spread(found) for name, found in seen.items()}}


async def send(settings: Settings, tasks: int) -> None:
    async with _producer(settings) as producer:
        for number in range(tasks):
            await producer.send(settings.topic("tasks"), TRIP, key=f"flood-{number}".encode())


async def crowded(settings: Settings, letters_mb: int) -> dict[str, Any]:
    """Seconds of each view of the dead letters, and the memory that the page takes."""
    await provision(settings)
    count = letters_mb * MB // LETTER_BYTES
    async with _producer(settings) as producer:
        for number in range(count):
            letter = os.urandom(LETTER_BYTES // 2).hex().encode()
            headers = [("segue-topic", b"events"), ("segue-reason", b"it is no record")]
            await producer.send(
                settings.topic("dead-letters"), letter, key=f"t{number}".encode(), headers=headers
            )
    async with segue(settings, "ui") as (process, url), browser(url) as looks:
        memory, peak = psutil.Process(process.pid), 0
        before, seen = memory.memory_info().rss, list[float]()
        for _ in range(VIEWS):
            look = asyncio.create_task(view_s(looks, "/dead-letters"))
            while not look.done():
                peak = max(peak, memory.memory_info().rss)
                await asyncio.sleep(0.02)
            seen.append(await look)
            await asyncio.sleep(BREATH_S)
    return {
        "letters": count,
        "letters_mb": letters_mb,
        "memory_mb": {"before": round(before / MB), "max": round(peak / MB)},
        "views_s": _spread(seen) | {"first": round(seen[0], 2)},
    }


async def view_s(looks: httpx.AsyncClient, path: str) -> float:
    began_s = time.perf_counter()
    answer = await looks.get(path)
    if answer.status_code not in (200, 404):  # a task that no worker has taken up yet
        raise RuntimeError(f"{path}: {answer.status_code} {answer.text[:500]}")
    return time.perf_counter() - began_s


def _spread(found: list[float]) -> dict[str, float]:
    return {
        "views": len(found),
        "p50": round(statistics.median(found), 2),
        "max": round(max(found), 2),
    }


def browser(url: str) -> httpx.AsyncClient:
    return httpx.AsyncClient(base_url=url, timeout=PAGE_S_MAX, trust_env=False)


@asynccontextmanager
async def _producer(settings: Settings) -> AsyncGenerator[Any]:
    producer: Any = AIOKafkaProducer(**settings.client_options(), linger_ms=5)
    await producer.start()
    try:
        yield producer
    finally:
        await producer.stop()


@asynccontextmanager
async def segue(settings: Settings, *command: str) -> AsyncGenerator[tuple[Process, str]]:
    """The command, and where its page is."""
    env = os.environ | {
        "SEGUE_KAFKA": settings.bootstrap,
        "SEGUE_TOPIC_PREFIX": settings.topic_prefix,
        "SEGUE_PARTITIONS": str(settings.partitions),
        "SEGUE_REPLICATION": "1",
        "SEGUE_METRICS_PORT": "0",
        "SEGUE_UI_PORT": str(settings.ui_port),
        "SEGUE_STATE_DIR": str(settings.state_dir),
    }
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "segue.streams.cli", *command),
        env=env,
        cwd=ROOT,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    assert process.stdout is not None
    said: list[bytes] = []
    try:
        while not (line := await process.stdout.readline()).startswith(b"the tasks are at "):
            said.append(line)
            if not line:
                raise RuntimeError(b"".join(said).decode())
        draining = asyncio.create_task(process.stdout.read())
        yield process, line.split()[-1].decode()
        draining.cancel()
    finally:
        if process.returncode is None:
            process.terminate()
            async with asyncio.timeout(STOP_S_MAX):
                await process.wait()


async def _measure(tasks: int, seconds: float, letters_mb: int) -> dict[str, Any]:
    """On a broker of its own, which is stopped and removed."""
    with tempfile.TemporaryDirectory() as directory:
        home = Path(directory)
        local = Settings.load(state_dir=home / "state", kafka=None)
        await ensure_broker(local, lambda line: print(line, file=sys.stderr))
        try:
            on = local.model_copy(update={"kafka": local.bootstrap, "replication": 1})
            flood = on.model_copy(update={"topic_prefix": "flood.", "state_dir": home / "flood"})
            crowd = on.model_copy(update={"topic_prefix": "crowd.", "state_dir": home / "crowd"})
            return {
                "flood": await flooded(flood, tasks, seconds) if tasks else None,
                "letters": await crowded(crowd, letters_mb) if letters_mb else None,
            }
        finally:
            await stop_broker(local)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--tasks", type=int, default=1_500)
    parser.add_argument("--seconds", type=float, default=90)
    parser.add_argument("--letters-mb", type=int, default=500)
    given = parser.parse_args()
    keep("page", measured(_measure(given.tasks, given.seconds, given.letters_mb)))


if __name__ == "__main__":
    main()
