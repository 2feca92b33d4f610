"""Command: dev."""

import asyncio
import signal
import sys
from collections.abc import AsyncIterable, Callable
from contextlib import AsyncExitStack
from typing import Any, NamedTuple

import click

from segue.processors.app.app import App
from segue.processors.app.schedules import KEEPER
from segue.processors.tasks.resumption import Resumed
from segue.streams.cli.apps import app_argument, find_app
from segue.streams.cli.commands.ui import ui_beside
from segue.streams.cli.inputs import ensure_fits
from segue.streams.cli.output import TASK_FAILED, asynchronous, command_name, output_option
from segue.streams.cli.render import Screen
from segue.streams.cli.terminal import terminal
from segue.streams.cli.watching import at_the_terminal, emit_timeline_event, picking, watch
from segue.streams.client.answers import json_or_text
from segue.streams.client.client import Client
from segue.streams.local.development import development
from segue.streams.settings import Settings
from segue.topics.errors import BadInput
from segue.topics.parts import ABSENT
from segue.topics.records import ENDED, Status

RESUMED_MAX = 5
"""The most tasks for which `dev` prints where they resume. Of the others it prints only the number."""


@click.command()
@app_argument
@click.argument("given", metavar="[INPUT]", required=False)
@click.option("--request", help="The input, instead of INPUT.")
@click.option("--workflow", help="The workflow to run; the app's sample, or its only workflow, if not given.")
@click.option("--exit-when-done", is_flag=True, help="Stop when the task has ended.")
@click.option(
    "--answer",
    type=click.IntRange(min=1),
    help="Answer each question with the option of this number; do not ask.",
)
@output_option
@asynchronous
async def dev(
    app: str | None,
    given: str | None,
    request: str | None,
    workflow: str | None,
    exit_when_done: bool,
    answer: int | None,
    output: str,
) -> None:
    """Start Kafka, the services of APP and a worker here, run a task of APP, and go on until Ctrl-C.

    Without INPUT the app's sample is run, if it has one; a sample that was interrupted continues. With
    --exit-when-done the sample starts again from its beginning. If there is then no terminal to ask at, each
    question is answered with its first option, and the command says so. Exit code 1 if the task fails.

    \b
    segue dev examples/travel
    segue dev examples/travel "a quiet beach hotel near Porto" --exit-when-done
    """
    found, settings, succeeded, segue = find_app(app), Settings.load(), True, command_name()
    text = request if request is not None else given
    sample = sample_of(found, workflow, text)
    screen = Screen(terminal(stderr=True)) if output == "json" else Screen()
    if sample is not None:
        ensure_fits(found.workflow(sample[0]), sample[1])
    elif exit_when_done:
        raise BadInput("no task to run: give INPUT, or name a workflow that takes no input with --workflow")
    resumed = first_resumed(screen.note)
    async with development(found, settings, screen.note, resumed) as client, AsyncExitStack() as beside:
        if settings.ui_port and not exit_when_done:
            await beside.enter_async_context(ui_beside(settings, screen.note))
        if found.notice:
            screen.note(found.notice)
        asked_anew = exit_when_done or workflow is not None or text is not None
        left = await left_open(client.each_status(), None if asked_anew or sample is None else sample[0])
        if left.number:
            screen.note(left.in_words)
        if sample is not None:
            task = left.sample or await _started(client, screen, *sample)
            answerer = picking(screen, answer) if answer else at_the_terminal(screen)
            if exit_when_done and answerer is None:
                answerer = picking(screen, 1)
            told = await watch(
                client,
                task,
                screen,
                app=found,
                answerer=answerer,
                listener=emit_timeline_event if output == "json" else None,
                leave_parked=exit_when_done,
                not_begun="no worker has started it yet: a worker that was killed here keeps its partitions "
                f"for {settings.session_timeout_ms / 1000:.0f} s",
            )
            succeeded = told.state == "succeeded"
            screen.note(f"show the task: {segue} show {task}; the broker runs on: {segue} broker stop")
        if not exit_when_done:
            screen.note(
                f"the worker runs on: `{segue} run WORKFLOW INPUT` in another terminal; Ctrl-C stops it"
            )
            await _until_stopped()
    if exit_when_done and not succeeded:
        sys.exit(TASK_FAILED)


async def _started(client: Client, screen: Screen, workflow: str, value: Any) -> str:
    task = await client.start(workflow, value)
    screen.note(f"task {task}")
    return task


def sample_of(app: App, workflow: str | None, text: str | None) -> tuple[str, Any] | None:
    """Return the workflow's name and its input, as given or from the app's sample."""
    value = json_or_text(text) if text is not None else ABSENT
    if workflow is not None:
        return app.workflow(workflow).name, value
    if app.sample is not None:
        return app.sample[0].name, app.sample[1] if text is None else value
    if text is None:
        return None
    names = sorted({name for name, _ in app.workflows} - {KEEPER})
    if len(names) != 1:
        raise BadInput(f"no workflow is named: use --workflow: {', '.join(names) or 'the app has none'}")
    return names[0], value


class LeftOpen(NamedTuple):
    """Tasks that an earlier worker left open: how many, the newest, and the newest that is a sample."""

    number: int
    newest: str
    sample: str | None

    @property
    def in_words(self) -> str:
        segue = command_name()
        if self.sample is not None:
            others = f", and {self.number - 1} others (`{segue} tasks`)" if self.number > 1 else ""
            return f"task {self.sample} goes on{others}; `{segue} dev APP INPUT` starts another"
        if self.number == 1:
            return f"task {self.newest} goes on: {segue} watch {self.newest}"
        return f"{self.number} tasks go on: `{segue} tasks` lists them"


async def left_open(statuses: AsyncIterable[Status], sample: str | None) -> LeftOpen:
    """Return which tasks go on now that there is a worker again; `sample` names the sample's workflow."""
    count, newest, newest_sample = 0, (0, ""), (0, "")
    async for s in statuses:
        if s.state not in ENDED and s.parent is None and s.workflow != KEEPER:
            count, newest = count + 1, max(newest, (s.started_ms, s.task))
            if s.workflow == sample:
                newest_sample = max(newest_sample, (s.started_ms, s.task))
    return LeftOpen(count, newest[1], newest_sample[1] or None)


def first_resumed(note: Callable[[str], None]) -> Callable[[Resumed], None]:
    """Return a report that notes where each task resumes, up to `RESUMED_MAX` tasks."""
    noted = set[str]()

    def report(task: Resumed) -> None:
        if task.workflow != KEEPER and task.task not in noted and len(noted) < RESUMED_MAX:
            noted.add(task.task)
            note(task.text)

    return report


async def _until_stopped() -> None:
    """Wait until SIGTERM. Ctrl-C cancels the wait."""
    stopped = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stopped.set)
    await stopped.wait()
