"""Where the time of a commit goes: its three requests, with one task alone and with many in flight.

Exactly once. A commit writes its records, then the offsets of what caused them, then ends its transaction.
What a step takes beyond its two commits: markers being written, the fetch, and the stages' own code.

    python -m benchmarks.commits [--seconds 5]
"""

import argparse
import statistics
import time
from collections.abc import Awaitable, Callable
from typing import Any

from benchmarks.report import keep, measured
from benchmarks.steps import IN_FLIGHT, STEPS, running
from segue.streams.kafka.producer import Producer
from segue.streams.local.broker import ensure_broker
from segue.streams.settings import Settings

ALONE_STEPS = 500
PARTS = {"write": "_write", "offsets": "_commit_offsets", "end": "_end", "whole": "transact"}

duration_ms: dict[str, list[float]] = {part: [] for part in PARTS}


def watch() -> None:
    """Each part of each commit is noted in `duration_ms`."""
    for part, name in PARTS.items():
        setattr(Producer, name, _timed(part, getattr(Producer, name)))


def _timed(part: str, right: Callable[..., Awaitable[Any]]) -> Callable[..., Awaitable[Any]]:
    async def timed(*args: Any, **options: Any) -> Any:
        began_s = time.perf_counter()
        found = await right(*args, **options)
        duration_ms[part].append((time.perf_counter() - began_s) * 1000)
        return found

    return timed


async def measure(seconds: float) -> list[dict[str, Any]]:
    await ensure_broker(Settings.load())
    watch()
    rows: list[dict[str, Any]] = []
    async with running("exactly_once") as bench:
        _forget()
        step_ms = await bench.step_ms(ALONE_STEPS)
        rows.append({"in_flight": 1, "step_ms_p50": round(statistics.median(step_ms), 2)} | _row(ALONE_STEPS))
        for in_flight in IN_FLIGHT:
            _forget()
            before = bench.submitted
            await bench.steps_per_s(in_flight, seconds)
            rows.append({"in_flight": in_flight} | _row((bench.submitted - before) * STEPS))
    return rows


def _forget() -> None:
    for each in duration_ms.values():
        each.clear()


def _row(steps: int) -> dict[str, float]:
    parts = {f"{part}_ms_p50": round(statistics.median(each), 2) for part, each in duration_ms.items()}
    return {"steps_per_commit": round(steps / len(duration_ms["whole"]), 1)} | parts


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seconds", type=float, default=5.0)
    given = parser.parse_args()
    keep("commits", {"rows": measured(measure(given.seconds))})


if __name__ == "__main__":
    main()
