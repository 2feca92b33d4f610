"""Speed, guarded by its ratio to what plain aiokafka does on the same machine a moment before, never by time.

Both are run as `make benchmark-peers` runs them, each in a process of its own. Whatever else the machine does
spoils a turn or two, so each figure is the best of some rounds: what makes Segue slower does so in all.
"""

from dataclasses import dataclass
from pathlib import Path
from statistics import median

import pytest

from benchmarks.peers.catalogue import AT_LEAST_ONCE, RAW, SEGUE, SEGUE_LOCAL, named
from benchmarks.peers.servers import local_broker
from benchmarks.peers.turn import take
from segue.streams.settings import Settings

ROUNDS = 4
SECONDS = 2.0
IN_FLIGHT = 64


@dataclass(frozen=True)
class Ratios:
    """How many times as long as the two raw hops a step alone takes, and how many raw turns a step costs."""

    alone: float
    load: float

    def within(self, most: "Ratios") -> bool:
        return self.alone <= most.alone and self.load <= most.load


@pytest.mark.parametrize(
    ("name", "suffix", "most"),
    [
        (SEGUE, "", Ratios(2.5, 4.0)),
        (SEGUE, AT_LEAST_ONCE, Ratios(3.0, 6.0)),
        (SEGUE_LOCAL, "", Ratios(0.9, 4.0)),
    ],
)
async def test_a_step_stays_near_the_two_hops_that_it_is_made_of(
    broker: Settings, tmp_path: Path, name: str, suffix: str, most: Ratios
) -> None:
    best = Ratios(float("inf"), float("inf"))
    for _ in range(ROUNDS):
        found = await _ratios(broker, tmp_path, name, suffix)
        best = Ratios(min(best.alone, found.alone), min(best.load, found.load))
        if best.within(most):
            return
    raise AssertionError(f"slower beside plain aiokafka than it was: {best}, at most {most}")


async def _ratios(broker: Settings, folder: Path, name: str, suffix: str) -> Ratios:
    server = await local_broker(broker)
    raw, segue = [
        await take(named(each + suffix), server, folder, [IN_FLIGHT], SECONDS) for each in (RAW, name)
    ]
    return Ratios(
        median(segue.step_ms) / median(raw.step_ms), raw.steps_per_s[IN_FLIGHT] / segue.steps_per_s[IN_FLIGHT]
    )
