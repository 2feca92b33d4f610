"""Command: dead-letters, with list, show and replay."""

from collections.abc import AsyncGenerator

import click
from rich.table import Table

from segue.streams.cli.output import asynchronous, emit, emit_document, output_option
from segue.streams.cli.tables import cut, plain_table, print_table
from segue.streams.cli.terminal import Text, say, terminal
from segue.streams.client.dead_letters import (
    Newest,
    NewestOfEach,
    document,
    is_call,
    task_of,
    traceback_of,
    was_told,
)
from segue.streams.client.local_time import moment_of
from segue.streams.client.redrive import Copy, Range, back_to_its_topic, each_record, feed, records_of
from segue.streams.client.status_table import each_status
from segue.streams.settings import Settings
from segue.streams.text.control_characters import hanging, visible
from segue.topics.errors import BadInput, UnknownName
from segue.topics.flow import Received
from segue.topics.records import ENDED

LISTED_MAX = 50

letter_argument = click.argument("letter", metavar="PARTITION:OFFSET")
task_option = click.option("--task", help="Only dead letters of this task.")


@click.group(name="dead-letters", invoke_without_command=True)
@output_option
@click.pass_context
def dead_letters(ctx: click.Context, output: str) -> None:
    """List, show and redrive dead letters: records that could not be processed, with their bytes and the
    reason.

    Without a command it lists them.
    """
    if ctx.invoked_subcommand is None:
        ctx.invoke(list_letters, output=output)


@dead_letters.command(name="list")
@task_option
@click.option("--limit", "-n", type=click.IntRange(min=1), default=LISTED_MAX, show_default=True)
@output_option
@asynchronous
async def list_letters(task: str | None, limit: int, output: str) -> None:
    """List dead letters, the newest first.

    If a record was redriven and failed again, only its newest dead letter is listed.
    """
    newest = Newest(limit)
    async for letter in each_record(Settings.load(), Range("dead-letters", task=task)):
        newest.add(letter, whole=output == "json")
    found, older = newest.letters, len(newest.among) - limit
    if output == "json":
        emit_document([document(letter) for letter in found])
    elif found:
        print_table(_table(found))
    else:
        say("no dead letters", err=True)
    if older > 0:
        say(f"and {older} older: --limit {older + limit}", err=True)


@dead_letters.command()
@letter_argument
@output_option
@asynchronous
async def show(letter: str, output: str) -> None:
    """Show a dead letter: why and where it failed, its headers and its bytes."""
    found = await _letter(letter)
    told = document(found)
    if output == "json":
        emit_document(told)
        return
    console = terminal()
    for name, value in told.items():
        line = Text(f"{name:<10}", style="dim").append(visible(str(value)), style="default")
        console.print(line, soft_wrap=True)
    if traceback := traceback_of(told["topic"], found.value):
        console.print(Text(hanging(traceback)), soft_wrap=True)


@dead_letters.command()
@click.argument("letter", metavar="PARTITION:OFFSET", required=False)
@task_option
@click.option("--all", "every", is_flag=True, help="All dead letters.")
@output_option
@asynchronous
async def redrive(letter: str | None, task: str | None, every: bool, output: str) -> None:
    """Send dead letters to their original topics again, after you have fixed the cause.

    Name one letter, or use --task for all letters of a task, or --all. If a record was redriven before and
    failed again, only its newest letter is sent. Two kinds of letters are not sent: those of steps that
    failed permanently, because their tasks have that outcome already; and calls of tasks that have ended,
    because no task waits for them.
    """
    if sum((letter is not None, task is not None, every)) != 1:
        raise BadInput("no dead letters are named: give one of PARTITION:OFFSET, --task TASK or --all")
    if letter:
        chosen = await _letter(letter)
        ended = await _ended(Settings.load(), {task_of(chosen)} if is_call(chosen) else set())
        mendable = [back_to_its_topic(chosen)] if _is_of_use(chosen, ended) else []
        count, among = await feed(Settings.load(), mendable), 1
    else:
        count, among = await _replayed(Range("dead-letters", task=task))
    left = among - count
    if output == "json":
        emit({"records": count, "left": left})
        return
    say(f"{count} records were sent to their topics again")
    if left:
        say(
            f"{left} were not sent: their steps have failed permanently, or their tasks have ended. "
            "Start those tasks again with another id",
            err=True,
        )


async def _replayed(wanted: Range) -> tuple[int, int]:
    """Send the newest letter of each record again; return how many were sent, and how many there are.

    The letters are read twice, to keep few in memory: first to find the newest ones, then to send them.
    """
    settings, newest, called = Settings.load(), NewestOfEach(), set[str]()
    async for letter in each_record(settings, wanted):
        newest.add(letter)
        if is_call(letter):
            called.add(task_of(letter))
    ended = await _ended(settings, called)

    async def mendable() -> AsyncGenerator[Copy]:
        async for letter in each_record(settings, wanted):
            if letter in newest and _is_of_use(letter, ended):
                yield back_to_its_topic(letter)

    return await feed(settings, mendable()), len(newest)


async def _ended(settings: Settings, tasks: set[str]) -> set[str]:
    """Return the tasks that have ended."""
    if not tasks:
        return set()
    return {s.task async for s in each_status(settings) if s.task in tasks and s.state in ENDED}


def _is_of_use(letter: Received, ended: set[str]) -> bool:
    return not was_told(letter) and not (is_call(letter) and task_of(letter) in ended)


async def _letter(place: str) -> Received:
    partition, _, offset = place.partition(":")
    if not (partition.isdecimal() and offset.isdecimal()):
        raise BadInput(f"{place!r} is not PARTITION:OFFSET, such as 2:17: `segue dead-letters` lists them")
    first = int(offset)
    wanted = Range("dead-letters", partition=int(partition), begin=first, end=first + 1)
    found = await records_of(Settings.load(), wanted)
    if not found:
        raise UnknownName(f"there is no dead letter at {place}: `segue dead-letters` lists them")
    return found[0]


def _table(letters: list[Received]) -> Table:
    table = plain_table("LETTER", "AT", "FROM", "TASK")
    table.add_column("REASON")
    for letter in letters:
        told = document(letter)
        at = moment_of(letter.timestamp_ms)
        table.add_row(
            told["letter"], at, f"{told['topic']} > {told['stage']}", told["task"], cut(told["reason"])
        )
    return table
