"""What a seed stands for: how many workers, which tasks, and what breaks when. All of it is drawn here."""

import random
from dataclasses import dataclass, replace

from tests.simulation import workload
from tests.simulation.workload import Submission
from tests.simulation.world import Fault

PASSES_WITH_FAULTS = 2_500
"""Faults strike within so many passes of workers; after that everything heals."""

KINDS = {
    "kill": 6,
    "lose the disk": 2,
    "terminate": 2,
    "freeze": 5,
    "silence": 3,
    "add": 2,
    "refuse": 3,
    "fail": 5,
    "move the clock": 2,
    "echo": 1,
}


@dataclass(frozen=True)
class Schedule:
    seed: int
    exactly_once: bool
    new_transactions: bool
    """Of Kafka 4; else those before."""
    partitions: int
    workers: int
    in_flight_max: int
    cached_tasks_max: int
    running_tasks_max: int
    outbox_records_max: int
    submissions: tuple[Submission, ...]
    faults: tuple[Fault, ...]

    @property
    def has_echoes(self) -> bool:
        return any(fault.kind == "echo" for fault in self.faults)

    def __str__(self) -> str:
        tasks = ", ".join(
            f"{each.task} at {each.at_s:.1f} s" + (" twice" if each.copies > 1 else "")
            for each in self.submissions
        )
        circumstances = (
            "exactly_once" if self.exactly_once else "at_least_once",
            f"{'new' if self.new_transactions else 'old'} transactions",
            f"{self.workers} workers",
            f"{self.partitions} partitions",
            f"{self.in_flight_max} calls in flight",
            f"{self.cached_tasks_max} tasks in memory",
            f"{self.running_tasks_max} tasks busy",
            f"{self.outbox_records_max} records in a commit",
        )
        return (
            f"seed {self.seed}: {', '.join(circumstances)}\n"
            f"tasks:  {tasks}\n"
            f"faults: {', '.join(map(str, self.faults)) or 'none'}"
        )


def drawn(seed: int) -> Schedule:
    chance = random.Random(f"schedule {seed}")
    return Schedule(
        seed,
        exactly_once=chance.random() < 0.7,
        new_transactions=chance.random() < 0.7,
        partitions=chance.choice((1, 2, 2, 3)),
        workers=chance.choice((1, 2, 2, 3)),
        in_flight_max=chance.choice((1, 3, 8)),
        cached_tasks_max=chance.choice((1, 2, 10_000)),
        running_tasks_max=chance.choice((1, 2, 256)),
        outbox_records_max=chance.choice((1, 4, 20_000)),
        submissions=workload.drawn(chance),
        faults=_faults(chance),
    )


def _faults(chance: random.Random) -> tuple[Fault, ...]:
    kinds = chance.choices(list(KINDS), list(KINDS.values()), k=chance.choice((0, 1, 2, 3, 5, 8)))
    return tuple(
        sorted(
            (Fault(chance.randint(1, PASSES_WITH_FAULTS), kind, _lasts_s(chance)) for kind in kinds),
            key=lambda fault: fault.at,
        )
    )


def _lasts_s(chance: random.Random) -> float:
    """Shorter and longer than sessions, transactions and the grace for calls."""
    return chance.choice((0.05, 0.5, 3.0, 12.0, 25.0)) * (0.5 + chance.random())


def smaller(schedule: Schedule) -> list[Schedule]:
    """The same with a fault less, or a task less, or simpler circumstances."""
    faults, tasks = schedule.faults, schedule.submissions
    fewer = [replace(schedule, faults=faults[:n] + faults[n + 1 :]) for n in range(len(faults))]
    fewer += [
        replace(schedule, submissions=tasks[:n] + tasks[n + 1 :])
        for n in range(len(tasks) if len(tasks) > 1 else 0)
    ]
    if schedule.workers > 1:
        fewer.append(replace(schedule, workers=schedule.workers - 1))
    if schedule.partitions > 1:
        fewer.append(replace(schedule, partitions=1))
    return fewer
