"""Results of 1 KB to 900 KB: steps per second, and what is written for a step beside its result.

Some tasks of six steps run at a time, until so many have ended. Written is what the local broker's logs have
grown by (records of all topics, the changelog of conduct's journal among them), what the worker's own folder
has (RocksDB's logs and files), and objects: large results as files. No result is like another, or compresses.

    python -m benchmarks.sizes [--tasks 100]
"""

import argparse
import asyncio
import secrets
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from benchmarks.report import keep, measured
from benchmarks.steps import STEPS, Bench, running
from segue import App, Task, tool, workflow
from segue.streams.local.broker import broker_status, ensure_broker
from segue.streams.settings import Settings

KB = 1000
SIZES = (KB, 64 * KB, 800 * KB, 900 * KB)
"""The last one stands as an object: with its quotes it is a little more than a record takes."""
IN_FLIGHT = 8
SETTLE_S = 2.0
"""Until the last offsets are committed."""


@tool
async def text(size: int, n: int) -> str:  # noqa: ARG001 - so that each call is another
    return secrets.token_hex(size // 2)


@workflow
async def six_texts(task: Task, size: int) -> None:
    for n in range(STEPS):
        await task.tool(text, size=size, n=n)


APP = App("sizes", workflows=[six_texts], tools=[text])


async def measure(tasks: int) -> list[dict[str, Any]]:
    given = Settings.load()
    await ensure_broker(given)
    folder = (await broker_status(given)).folder
    assert folder is not None, "the sizes are those of the local broker's files"
    rows: list[dict[str, Any]] = []
    for size in SIZES:
        async with running("exactly_once", APP) as bench:
            rows.append(await _row(bench, folder, size, tasks))
            print(rows[-1], flush=True)
    return rows


async def _row(bench: Bench, broker: Path, size: int, tasks: int) -> dict[str, Any]:
    await _run(bench, size, IN_FLIGHT)
    await asyncio.sleep(SETTLE_S)
    before = _written(bench.settings, broker)
    began = time.perf_counter()
    await _run(bench, size, tasks)
    duration_s = time.perf_counter() - began
    await asyncio.sleep(SETTLE_S)
    per_step = [
        (b - a) / tasks / STEPS for a, b in zip(before, _written(bench.settings, broker), strict=True)
    ]
    return {
        "result_bytes": size,
        "steps_per_s": round(tasks * STEPS / duration_s, 1),
        "broker_bytes_per_step": round(per_step[0]),
        "worker_bytes_per_step": round(per_step[1]),
        "object_bytes_per_step": round(per_step[2]),
        "ratio_to_result": round(sum(per_step) / size, 2),
    }


async def _run(bench: Bench, size: int, tasks: int) -> None:
    left, flying = tasks, 0
    while left or flying:
        begun = min(left, IN_FLIGHT - flying)
        await bench.submit(begun, size, "six_texts")
        left, flying = left - begun, flying + begun
        flying -= await bench.finished()


def _written(settings: Settings, broker: Path) -> tuple[int, int, int]:
    """By the broker, by the worker, and of objects, where large results stand."""
    return (
        _bytes(broker.glob(f"data/{settings.topic_prefix}*/*.log")),
        _bytes(settings.state_dir.rglob("*")),
        _bytes(Path(settings.objects_root).rglob("*")),
    )


def _bytes(files: Iterable[Path]) -> int:
    return sum(file.stat().st_size for file in files if file.is_file())


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--tasks", type=int, default=100)
    given = parser.parse_args()
    keep("sizes", {"rows": measured(measure(given.tasks))})


if __name__ == "__main__":
    main()
