"""Commands for budgets and consumption: budget, usage."""

import click

from segue.processors.formatting import usd as dollars
from segue.processors.routing.budget import budget_in, together
from segue.processors.views.descriptions import spent_line
from segue.streams.cli.output import asynchronous, emit, emit_document, output_option
from segue.streams.cli.tables import plain_table, print_table
from segue.streams.cli.task_ids import task_argument
from segue.streams.cli.terminal import say
from segue.streams.client.client import Client
from segue.streams.settings import Settings
from segue.topics.errors import BadInput
from segue.topics.parts import Spent
from segue.topics.records import Status


@click.command()
@task_argument
@click.option(
    "--usd", type=click.FloatRange(min=0), help="The most that the task may cost in total, in US dollars."
)
@click.option(
    "--tokens", type=click.IntRange(min=0), help="The most tokens that the task may consume in total."
)
@output_option
@asynchronous
async def budget(task: str, usd: float | None, tokens: int | None, output: str) -> None:
    """Set the budget of TASK in total. A task that waits for budget goes on.

    A limit that is not given is unchanged. Children that have begun have budgets of their own.

    \b
    segue budget trip-1 --usd 2
    """
    if usd is None and tokens is None:
        raise BadInput("no budget is given: give --usd, --tokens or both")
    async with Client(Settings.load()) as client:
        await client.set_budget(task, budget_in({"usd": usd, "tokens": tokens}))
    if output == "json":
        emit({"task": task, "usd": usd, "tokens": tokens})
        return
    limits = [dollars(usd) if usd is not None else "", f"{tokens:,} tokens" if tokens is not None else ""]
    say(f"{task} may use {' and '.join(filter(None, limits))} in all")


@click.command()
@click.option(
    "--by",
    type=click.Choice(["workflow", "tenant"]),
    default="workflow",
    show_default=True,
    help="Sum by workflow or by tenant.",
)
@output_option
@asynchronous
async def usage(by: str, output: str) -> None:
    """Show what tasks have consumed. Only tasks whose status is still kept count; a child counts with its
    parent.

    The consumption of a running task is as of the last change of its state.
    """
    found = Sums(by)
    async with Client(Settings.load()) as client:
        async for status in client.each_status():
            found.add(status)
    sums = found.dearest_first
    if output == "json":
        emit_document([{by: name or None, "tasks": tasks, "spent": spent} for name, tasks, spent in sums])
        return
    if not sums:
        say("no task has consumed anything", err=True)
        return
    figures = ("TASKS", "CALLS", "SPENT")
    table = plain_table(by.upper(), *figures, right=figures)
    for name, tasks, spent in sums:
        table.add_row(name or "-", f"{tasks:,}", f"{spent.calls:,}", spent_line(spent))
    print_table(table)


class Sums:
    """The consumption and number of tasks, by workflow or tenant."""

    def __init__(self, by: str) -> None:
        self._by = by
        self._found: dict[str, tuple[int, Spent]] = {}

    def add(self, status: Status) -> None:
        """Add a task. Children are left out: their parent's consumption includes theirs."""
        if status.spent is not None and status.parent is None:
            name = status.workflow if self._by == "workflow" else status.tenant or ""
            tasks, spent = self._found.get(name, (0, None))
            self._found[name] = tasks + 1, together(spent, status.spent) or Spent()

    @property
    def dearest_first(self) -> list[tuple[str, int, Spent]]:
        sums = [(name, *each) for name, each in self._found.items()]
        return sorted(sums, key=lambda row: (-row[2].usd, -row[2].tokens))
