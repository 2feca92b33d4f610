"""Command: replay."""

import asyncio
import logging
import sys

import click

from segue.processors.formatting import preview
from segue.processors.views.timeline import Timeline
from segue.streams.cli.apps import app_option, find_app
from segue.streams.cli.output import emit, output_option, run_option
from segue.streams.cli.render import Screen
from segue.streams.cli.task_ids import task_argument
from segue.streams.cli.watching import candidates_of
from segue.streams.client.client import Client
from segue.streams.settings import Settings
from segue.streams.testing.replay import Played, Replay
from segue.topics import codec
from segue.topics.flow import Received
from segue.topics.records import Record

DIVERGED = 1


@click.command()
@task_argument
@app_option
@run_option
@click.option(
    "--until", type=click.IntRange(min=0), metavar="STEP", help="Stop before the outcome of this step."
)
@output_option
def replay(task: str, app: str | None, run: int | None, until: int | None, output: str) -> None:
    """Run TASK's workflow again over its recorded log: no call is made, nothing is published.

    A breakpoint() in the workflow stops there. Exit code 1 if the code no longer agrees with the log.
    """
    found = find_app(app)
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)
    again = Replay(found, asyncio.run(_history(task, run)), until, run)
    screen = Screen()
    timeline = Timeline(task, candidates_of(found))
    for number, played in enumerate(again):
        if output == "json":
            emit({"event": played.event, "asked": [asked.value for asked in played.asked]})
        else:
            _show(screen, timeline, number, played)
    sys.exit(_verdict(again, screen, output))


async def _history(task: str, run: int | None) -> list[Received]:
    async with Client(Settings.load()) as client:
        return await client.history(task, run)


def _show(screen: Screen, timeline: Timeline, number: int, played: Played) -> None:
    """Show the event, then the commands with which the workflow reacted to it."""
    for position, (topic, record) in enumerate([("events", played.event), *_commands_of(played)]):
        event = timeline.apply(_as_received(topic, record, number, position, played.event.at_ms))
        if event:
            screen.event(event)


def _commands_of(played: Played) -> list[tuple[str, Record]]:
    return [(asked.topic, asked.value) for asked in played.asked if isinstance(asked.value, Record)]


def _as_received(topic: str, record: Record, number: int, position: int, at_ms: int) -> Received:
    return Received(topic, position, number, None, codec.encode(record), (), at_ms)


def _verdict(again: Replay, screen: Screen, output: str) -> int:
    """Print the outcome of the replay, and return the exit code."""
    parked, different = again.parked, again.different_ending
    completion = again.execution.completion if again.execution else None
    if output == "json":
        emit({"completion": completion, "parked": parked, "different": different})
    elif parked is not None:
        screen.note(f"{'a bug' if parked.traceback else 'diverged'}: {parked.message}")
    elif different is not None:
        screen.note(f"diverged: {different}")
    elif completion is None:
        screen.note("the log ends here: the task is waiting")
    elif completion.continue_as_new is not None:
        screen.note(f"continues as new, as recorded: {preview(completion.continue_as_new.given)}")
    else:
        told = completion.problem.message if completion.problem else preview(completion.result)
        screen.note(f"{completion.outcome}, as recorded: {told}")
    problem = parked or (completion.problem if completion else None)
    if problem and problem.traceback and output == "text":
        screen.note(problem.traceback.rstrip())
    return DIVERGED if parked or different else 0
