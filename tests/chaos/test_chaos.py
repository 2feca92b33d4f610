"""A short run of the harness on a real broker, with every audit; and what it draws is of the seed alone."""

from itertools import islice
from pathlib import Path

from chaos import faults, workload
from chaos.report import figures, text
from chaos.run import Plan, run

SEED = 7


async def test_workers_broker_and_network_break_and_every_task_ends_once(tmp_path: Path) -> None:
    kinds: tuple[faults.Kind, ...] = ("kill", "blink", "broker", "cut", "terminate", "add")
    plan = Plan(SEED, minutes=0.7, tasks_per_s=8, only=kinds)
    outcome = await run(plan, tmp_path, print)
    assert outcome.findings.clean, text(outcome)
    found = figures(outcome)
    assert found["extra_executions"] <= found["in_flight_at_faults"]
    assert found["tasks"] > 200


def test_the_same_seed_draws_the_same_tasks_and_faults() -> None:
    assert list(islice(workload.drawn(SEED), 100)) == list(islice(workload.drawn(SEED), 100))
    assert list(islice(faults.drawn(SEED), 100)) == list(islice(faults.drawn(SEED), 100))
    assert list(islice(faults.drawn(SEED), 100)) != list(islice(faults.drawn(SEED + 1), 100))
