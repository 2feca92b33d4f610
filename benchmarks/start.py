"""How long a start takes: of the command, of an import, and of a worker until its first step.

Each is a new process, in turns over the rounds. The first step is that of a task which is there already, on
topics that are there already, as after a crash or a deployment: from the worker's start until its tool runs.

    python -m benchmarks.start [--rounds 5]
"""

import argparse
import asyncio
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from aiokafka import AIOKafkaProducer
from pydantic_core import to_json

from benchmarks.flood import worker
from benchmarks.raw import delete_topics
from benchmarks.report import keep, measured
from segue import App, Task, tool, workflow
from segue.streams.kafka.provisioning import provision
from segue.streams.local.broker import ensure_broker
from segue.streams.settings import Settings
from segue.topics import contracts

CALLED_AT = "SEGUE_BENCHMARK_CALLED_AT"
"""Where the tool writes the time at which it was called."""

POLL_S = 0.005


@tool
async def note() -> None:
    Path(os.environ[CALLED_AT]).write_text(str(time.time()))  # noqa: ASYNC240 - nothing else runs


@workflow
async def one(task: Task) -> None:
    await task.tool(note)


APP = App("start", workflows=[one], tools=[note])


async def measure(rounds: int) -> dict[str, Any]:
    given = Settings.load()
    await ensure_broker(given)
    found: dict[str, list[float]] = {"help_s": [], "import_s": [], "first_step_s": []}
    for _ in range(rounds):
        found["help_s"].append(_took_s("-m", "segue.streams.cli", "--help"))
        found["import_s"].append(_took_s("-c", "import segue"))
        found["first_step_s"].append(await _first_step_s(given))
    return {
        name: {"p50": round(statistics.median(each), 2), "max": round(max(each), 2)}
        for name, each in found.items()
    }


def _took_s(*arguments: str) -> float:
    began_s = time.perf_counter()
    subprocess.run([sys.executable, *arguments], check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - began_s


async def _first_step_s(given: Settings) -> float:
    with tempfile.TemporaryDirectory() as directory:
        own = {
            "topic_prefix": f"start-{time.time_ns()}.",
            "kafka": given.bootstrap,
            "state_dir": Path(directory),
        }
        settings = given.model_copy(update=own)
        called_at = Path(directory) / "called-at"
        os.environ[CALLED_AT] = str(called_at)
        await provision(settings)
        await _submit(settings)
        try:
            began_s = time.time()
            async with worker(settings, "benchmarks/start.py"):
                while not (called_at.exists() and called_at.read_text()):  # noqa: ASYNC110 - of another process
                    await asyncio.sleep(POLL_S)
            return float(called_at.read_text()) - began_s
        finally:
            await delete_topics(settings, [topic.name for topic in contracts.ALL])


async def _submit(settings: Settings) -> None:
    producer: Any = AIOKafkaProducer(**settings.client_options())
    await producer.start()
    await producer.send_and_wait(settings.topic("tasks"), to_json({"workflow": "one"}), key=b"t")
    await producer.stop()


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=5)
    given = parser.parse_args()
    keep("start", measured(measure(given.rounds)))


if __name__ == "__main__":
    main()
