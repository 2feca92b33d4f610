"""A share of the seeds in each run of the tests; `make simulate` plays more, and shows one that fails.

In a process of their own, since the simulation takes the place of clocks, clients and disk.
"""

import subprocess
import sys

import pytest

from tests.simulation.planted import BUGS

SEEDS = 1_000
MINUTES_MAX = 0.5
"""A machine that is busy plays fewer."""


def simulate(*options: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "tests.simulation", *options]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_every_claim_holds_in_some_hundred_schedules() -> None:
    played = simulate("--seeds", str(SEEDS), "--minutes", str(MINUTES_MAX))
    assert played.returncode == 0, played.stdout + played.stderr


def test_a_seed_is_the_same_schedule_each_time() -> None:
    first, second = simulate("--seed", "7"), simulate("--seed", "7")
    assert first.stdout == second.stdout
    assert "every claim holds" in first.stdout, first.stdout + first.stderr


@pytest.mark.parametrize("bug", BUGS)
def test_a_planted_bug_is_caught(bug: str) -> None:
    planted = simulate("--planted", bug)
    assert planted.returncode == 0, planted.stdout + planted.stderr
