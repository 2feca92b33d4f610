"""Tasks of other shapes than six steps: one that is wide, and one that is long.

Wide: one task calls so many tools at once and gathers them, beside narrow tasks, 512 in flight. Long: one
task makes so many steps one after the other; its cost along its way is the time from call to call and the CPU
time of the process, over slices of which the last is to be as the first (docs/long.svg).

    python -m benchmarks.shapes [--steps 10000]
"""

import argparse
import asyncio
import statistics
import time
from itertools import pairwise
from typing import Any

from benchmarks.raw import Guarantee
from benchmarks.report import draw, keep, measured
from benchmarks.steps import Bench, called_at, running
from segue.streams.local.broker import ensure_broker
from segue.streams.settings import Settings

NARROW_IN_FLIGHT = 512
NARROW_S = 5.0
SLICES = 20
CPU_EVERY_S = 0.05


async def measure(steps: int, guarantee: Guarantee) -> dict[str, Any]:
    await ensure_broker(Settings.load())
    async with running(guarantee) as bench:
        await bench.steps_per_s(NARROW_IN_FLIGHT, 1.0)
        narrow_us = 1e6 / await bench.steps_per_s(NARROW_IN_FLIGHT, NARROW_S)
        wide_us = await _wide_us(bench, steps)
        slices = await _long(bench, steps)
    return {
        "guarantee": guarantee,
        "steps": steps,
        "narrow_us_per_step": round(narrow_us),
        "wide_us_per_step": round(wide_us),
        "wide_ratio_to_narrow": round(wide_us / narrow_us, 2),
        "long": slices,
        "long_last_ratio_to_first": round(slices[-1]["ms_p50"] / slices[0]["ms_p50"], 2),
    }


async def _wide_us(bench: Bench, steps: int) -> float:
    """From when the task is sent until its result is there."""
    began = time.perf_counter()
    await bench.submit(1, steps, workflow="wide")
    while not await bench.finished():
        pass
    return (time.perf_counter() - began) / steps * 1e6


async def _long(bench: Bench, steps: int) -> list[dict[str, float]]:
    cpu: list[tuple[float, float]] = []

    async def watch() -> None:
        while True:
            cpu.append((time.perf_counter(), time.process_time()))
            await asyncio.sleep(CPU_EVERY_S)

    watching = asyncio.create_task(watch())
    step_ms = await bench.step_ms(steps)
    watching.cancel()
    ends, size = called_at[-len(step_ms) :], len(step_ms) // SLICES
    return [
        {
            "from_step": number * size,
            "ms_p50": round(statistics.median(step_ms[number * size : (number + 1) * size]), 2),
            "cpu_us": round(_cpu_s(cpu, ends[number * size], ends[(number + 1) * size - 1]) / size * 1e6),
        }
        for number in range(SLICES)
    ]


def _cpu_s(cpu: list[tuple[float, float]], begin: float, end: float) -> float:
    within = [used for at, used in cpu if begin <= at <= end]
    return sum(b - a for a, b in pairwise(within))


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--steps", type=int, default=10_000)
    parser.add_argument("--guarantee", choices=["exactly_once", "at_least_once"], default="exactly_once")
    given = parser.parse_args()
    keep("shapes", measured(measure(given.steps, given.guarantee)))
    draw("shapes", "long")


if __name__ == "__main__":
    main()
