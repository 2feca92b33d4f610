"""Segue: a worker as `segue worker` starts it, with metrics and health. All of a turn share their topics.

python -m benchmarks.peers.on_segue exactly_once|at_least_once [local]
"""

import os
import sys
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from benchmarks.peers.program import Ran, serve
from benchmarks.raw import Guarantee
from benchmarks.steps import APP, LOCAL, STEPS, Bench, Seat, running
from segue.streams.observability.log_throttle import quiet_aiokafka


@dataclass(frozen=True)
class Segue:
    bench: Bench

    async def run(self, in_flight: int, seconds: float) -> Ran:
        before = self.bench.submitted
        rate = await self.bench.steps_per_s(in_flight, seconds)
        return Ran(rate, (self.bench.submitted - before) * STEPS)

    async def alone(self, tasks: int) -> list[float]:
        return [ms for _ in range(tasks) for ms in await self.bench.step_ms(STEPS, warm_up=0)]


@asynccontextmanager
async def started() -> AsyncGenerator[Segue]:
    quiet_aiokafka()
    guarantee: Guarantee = "at_least_once" if sys.argv[1] == "at_least_once" else "exactly_once"
    seat = Seat(f"{os.environ['PEERS_TURN']}.", int(os.environ["PEERS_PROCESS"]))
    app = LOCAL if "local" in sys.argv else APP
    async with running(guarantee, app, seat) as bench:
        yield Segue(bench)


if __name__ == "__main__":
    serve(started, "segue", "aiokafka", "pydantic", "rocksdict")
