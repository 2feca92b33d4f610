"""Plays many seeds, in several processes; shows a seed that fails, as small as it can be made."""

import argparse
import multiprocessing
import os
import sys
from collections import deque
from collections.abc import Callable, Iterator
from itertools import count, islice
from typing import Any

from tests.simulation.planted import BUGS
from tests.simulation.play import play
from tests.simulation.schedule import Schedule, drawn, smaller
from tests.simulation.stand_ins import REAL_S

SEEDS = 1_000

SEEDS_AT_ONCE = 20
"""Handed to a process together."""

AHEAD = 2 * (os.cpu_count() or 1)
"""Handfuls of seeds that are handed out and not yet played, for the processes to be busy."""

FAILURES_SHOWN_MAX = 3

TRIES_MAX = 200
"""Schedules played to make a failing one smaller."""

LINES_MAX = 400
"""Of a schedule that is printed: its last ones."""

BUG_SEEDS_MAX = 1_000
"""A planted bug is caught by one of so many."""


def main() -> int:
    arguments = _arguments()
    if arguments.planted is not None:
        return _plant_each(arguments.planted or list(BUGS))
    if arguments.seed is not None:
        return _show(drawn(arguments.seed))
    began_s = REAL_S()
    seeds: Iterator[int] = count(arguments.first)
    if arguments.minutes:
        seeds = _until(began_s + arguments.minutes * 60, seeds)
    if arguments.seeds or not arguments.minutes:
        seeds = islice(seeds, arguments.seeds or SEEDS)
    played, failures = 0, 0
    with multiprocessing.get_context("fork").Pool(arguments.jobs) as pool:
        for number, failed in _played(pool, _several(seeds)):
            played += number
            for seed, why in failed:
                failures += 1
                print(f"seed {seed}: {why}\n    make simulate SEED={seed}", flush=True)
            if failures >= FAILURES_SHOWN_MAX:
                break
    duration_s = REAL_S() - began_s
    rate = played / duration_s * 60
    print(f"{played:,} seeds in {duration_s:.0f} s, {rate:,.0f} a minute: {failures} failed")
    return 1 if failures else 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.simulation", description=__doc__)
    parser.add_argument("--seed", type=int, help="play this one, make it small, and print what happens")
    parser.add_argument("--seeds", type=int, help=f"at most so many ({SEEDS:,}, without --minutes)")
    parser.add_argument("--minutes", type=float, help="for at most so many minutes")
    parser.add_argument("--first", type=int, default=0, help="the first seed (0)")
    parser.add_argument("--jobs", type=int, default=os.cpu_count(), help="processes (one for each core)")
    parser.add_argument(
        "--planted", nargs="*", metavar="BUG", help="plant these, or all, and see each caught"
    )
    return parser.parse_args()


def _until(end_s: float, seeds: Iterator[int]) -> Iterator[int]:
    for seed in seeds:
        if REAL_S() > end_s:
            return
        yield seed


def _several(seeds: Iterator[int]) -> Iterator[list[int]]:
    while several := list(islice(seeds, SEEDS_AT_ONCE)):
        yield several


def _played(pool: Any, several: Iterator[list[int]]) -> Iterator[tuple[int, list[tuple[int, str]]]]:
    """In order. No more is handed out than keeps the processes busy: the time may end."""
    waiting: deque[Any] = deque()
    for seeds in several:
        waiting.append(pool.apply_async(_play_several, (seeds,)))
        if len(waiting) > AHEAD:
            yield waiting.popleft().get()
    while waiting:
        yield waiting.popleft().get()


def _play_several(seeds: list[int]) -> tuple[int, list[tuple[int, str]]]:
    outcomes = [(seed, play(drawn(seed)).broken) for seed in seeds]
    return len(seeds), [(seed, broken) for seed, broken in outcomes if broken is not None]


# ---------------------------------------------------------------- one seed


def _show(schedule: Schedule) -> int:
    if play(schedule).broken is not None:
        schedule = _smallest(schedule)
    outcome = play(schedule, traced=True)
    print("\n".join(outcome.trace[-LINES_MAX:]))
    print(schedule)
    print(f"broken: {outcome.broken}" if outcome.broken else f"every claim holds, in {outcome.passes} passes")
    return 1 if outcome.broken else 0


def _smallest(schedule: Schedule) -> Schedule:
    """Leaves out what can be left out, one thing after the other, while a claim still breaks."""
    left = TRIES_MAX
    candidates = smaller(schedule)
    while candidates and left > 0:
        left -= 1
        candidate = candidates.pop(0)
        if play(candidate).broken is not None:
            schedule, candidates = candidate, smaller(candidate)
    return schedule


# ---------------------------------------------------------------- planted bugs


def _plant_each(names: list[str]) -> int:
    """Each in processes of its own, where it stays."""
    missed = 0
    for name in names:
        found = _caught(BUGS[name])
        missed += found is None
        seed, why = found if found is not None else (BUG_SEEDS_MAX, "NOT CAUGHT")
        print(f"{name:<36} {seed + 1:>4} seeds  {why}", flush=True)
    return 1 if missed else 0


def _caught(plant: Callable[[], None]) -> tuple[int, str] | None:

    def begin() -> None:
        sys.unraisablehook = lambda _: None  # a bug may leave coroutines behind
        plant()

    with multiprocessing.get_context("fork").Pool(initializer=begin) as pool:
        for _, failed in _played(pool, _several(iter(range(BUG_SEEDS_MAX)))):
            if failed:
                return failed[0]
    return None
