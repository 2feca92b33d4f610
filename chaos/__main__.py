"""`python -m chaos`: a run, its report, one line of JSON; ends with 1 if the audit found anything."""

import asyncio
import shutil
import signal
import sys
import time
from pathlib import Path
from typing import get_args

import click

from benchmarks.report import keep
from chaos.faults import Kind
from chaos.report import broken, figures, text
from chaos.run import Guarantee, Outcome, Plan, run
from segue.streams.observability.log_throttle import quiet_aiokafka
from segue.streams.settings import Settings


@click.command()
@click.option("--minutes", default=30.0, show_default=True, help="How long to break things.")
@click.option("--seed", type=int, help="Draws the tasks and the faults; another at each run if not given.")
@click.option("--guarantee", type=click.Choice(["exactly_once", "at_least_once"]), default="exactly_once")
@click.option("--rate", default=12.5, show_default=True, help="Tasks per second.")
@click.option("--only", multiple=True, type=click.Choice(get_args(Kind)), help="These faults alone.")
def main(minutes: float, seed: int | None, guarantee: Guarantee, rate: float, only: tuple[Kind, ...]) -> None:
    """Break workers, the broker and the network under load, then audit every task."""
    quiet_aiokafka()
    seed = seed if seed is not None else time.time_ns() % 100_000
    folder = Settings.load().state_dir / f"chaos-{guarantee}-{seed}"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    click.echo(f"seed {seed}; logs and state in {folder}")
    plan = Plan(seed, minutes, guarantee, rate, only=only)
    outcome = asyncio.run(_run(plan, folder))
    click.echo(text(outcome))
    keep(f"chaos-{guarantee}", figures(outcome))
    sys.exit(1 if broken(outcome) else 0)


async def _run(plan: Plan, folder: Path) -> Outcome:
    """Ends on SIGTERM as on Ctrl-C: with the processes that it started."""
    running = asyncio.current_task()
    assert running is not None
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, running.cancel)
    return await run(plan, folder, click.echo)


if __name__ == "__main__":
    main()
