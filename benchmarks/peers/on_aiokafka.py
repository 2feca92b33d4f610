"""Plain aiokafka: two loops that pass records there and back, nothing else; a turn is a step's two hops.

python -m benchmarks.peers.on_aiokafka exactly_once|at_least_once
"""

import sys
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from benchmarks.peers.program import STEPS, Ran, serve
from benchmarks.raw import Guarantee, raw_turns, raw_two_hop_ms
from segue.streams.observability.log_throttle import quiet_aiokafka
from segue.streams.settings import Settings


@dataclass(frozen=True)
class Raw:
    settings: Settings
    guarantee: Guarantee

    async def run(self, in_flight: int, seconds: float) -> Ran:
        rate, turns = await raw_turns(self.settings, self.guarantee, in_flight, seconds)
        return Ran(rate, turns)

    async def alone(self, tasks: int) -> list[float]:
        return await raw_two_hop_ms(self.settings, self.guarantee, tasks * (STEPS - 1))


@asynccontextmanager
async def started() -> AsyncGenerator[Raw]:
    quiet_aiokafka()
    yield Raw(Settings.load(), "at_least_once" if sys.argv[1] == "at_least_once" else "exactly_once")


if __name__ == "__main__":
    serve(started, "aiokafka")
