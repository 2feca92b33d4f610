"""Commands about tasks: run, tasks, show, watch."""

import sys
from contextlib import suppress
from typing import Any

import click
from rich.table import Table

from segue.processors.app.app import App
from segue.processors.formatting import duration
from segue.processors.routing.budget import budget_in
from segue.processors.views.descriptions import spent_line, standing
from segue.processors.views.timeline import Timeline
from segue.streams.cli.apps import app_option, find_app
from segue.streams.cli.inputs import ensure_fits
from segue.streams.cli.output import TASK_FAILED, asynchronous, emit, emit_document, output_option, run_option
from segue.streams.cli.render import STATE_STYLE, WIDE, Screen
from segue.streams.cli.tables import cut, plain_table, print_table
from segue.streams.cli.task_ids import task_argument
from segue.streams.cli.terminal import Text, say, terminal
from segue.streams.cli.watching import (
    at_the_terminal,
    candidates_of,
    emit_timeline_event,
    how_to_answer,
    watch,
)
from segue.streams.client.answers import json_or_text
from segue.streams.client.client import Client
from segue.streams.client.local_time import moment_of
from segue.streams.client.newest_records import NewestItems
from segue.streams.settings import Settings
from segue.topics.errors import UnknownName
from segue.topics.parts import ABSENT
from segue.topics.records import PRIORITY_MAX, STATES, Status

DAY_AND_MINUTE = slice(5, 16)
"""The part of a time such as 2026-11-25 10:45:33."""


@click.command()
@click.argument("workflow")
@click.argument("given", metavar="[INPUT]", required=False)
@click.option("--wait", is_flag=True, help="Follow the task to its end; exit code 1 if it fails.")
@click.option("--id", "task", help="The task's id. The same id twice starts one task.")
@click.option("--version", type=int, help="The workflow's version; the newest if not given.")
@click.option(
    "--tenant", help="The tenant, which decides limits, the order in the queue, and encryption keys."
)
@click.option(
    "--priority",
    type=click.IntRange(0, PRIORITY_MAX),
    default=0,
    help="0 to 9: of queued tasks, those with a higher priority start first.",
)
@click.option("--usd", type=click.FloatRange(min=0), help="The most that the task may cost, in US dollars.")
@click.option(
    "--tokens", type=click.IntRange(min=0), help="The most tokens that the task's models may consume."
)
@app_option
@output_option
@asynchronous
async def run(
    workflow: str,
    given: str | None,
    wait: bool,
    task: str | None,
    version: int | None,
    tenant: str | None,
    priority: int,
    usd: float | None,
    tokens: int | None,
    app: str | None,
    output: str,
) -> None:
    """Start a task of WORKFLOW.

    INPUT is JSON. If it is not valid JSON, it is used as text; `-` reads it from stdin. With --app, or
    SEGUE_APP, it is validated before anything is sent. Prints the task's id; with --wait also its events and
    its result.

    \b
    segue run book_trip "a quiet beach hotel near Lisbon"
    segue run import_orders - --id orders-2026-11-23 < orders.json
    """
    found = find_app(app) if app else None
    value = _input(given)
    if found is not None:
        ensure_fits(found.workflow(workflow, version), value)
    async with Client(Settings.load()) as client:
        budget = budget_in({"usd": usd, "tokens": tokens}) if usd is not None or tokens is not None else None
        if task is not None and (state := await _state_of(client, task)):
            say(f"task {task} exists already and is {state}: no second task is started", err=True)
        started = await client.start(
            workflow, value, task, version, tenant=tenant, priority=priority, budget=budget
        )
        if not wait:
            emit({"task": started}) if output == "json" else say(started)
            return
        await _follow(client, started, found, output, leave_parked=True)


async def _state_of(client: Client, task: str) -> str | None:
    """Return the task's state, or None if the id is free. The id of a rejected request is free."""
    with suppress(UnknownName):
        status = await client.status(task)
        return status.state if status.state != "rejected" else None
    return None


@click.command()
@click.option(
    "--state", type=click.Choice(STATES), multiple=True, help="Only tasks in this state; may be repeated."
)
@click.option("--workflow", help="Only tasks of this workflow.")
@click.option(
    "--limit", "-n", type=click.IntRange(min=1), default=50, show_default=True, help="The most tasks to list."
)
@output_option
@asynchronous
async def tasks(state: tuple[str, ...], workflow: str | None, limit: int, output: str) -> None:
    """List tasks, the newest first."""
    every, newest = 0, NewestItems[int, Status](limit)
    async with Client(Settings.load()) as client:
        async for status in client.each_status():
            every += 1
            if (not state or status.state in state) and workflow in (None, status.workflow):
                newest.add(status.started_ms, status)
    found = [status for _, status in newest.found]
    if output == "json":
        emit_document(found)
        return
    if not found:
        say(f"no task matches ({every:,} in all)" if every else "no tasks", err=True)
        return
    print_table(_table(found, narrow=terminal().width < WIDE))
    if newest.count > limit:
        say(f"and {newest.count - limit} older: --limit {newest.count}", err=True)


@click.command()
@task_argument
@run_option
@app_option
@output_option
@asynchronous
async def show(task: str, run: int | None, app: str | None, output: str) -> None:
    """Show TASK's steps as a timeline: each attempt, each failure with its reason, and the result."""
    async with Client(Settings.load()) as client:
        history = await client.history(task, run)
    timeline = Timeline(task, candidates_of(find_app(app) if app else None), only=run)
    for record in history:
        timeline.apply(record)
    if output == "json":
        emit_document(_document(timeline))
        return
    screen = Screen()
    screen.timeline(timeline)
    if timeline.run and run is None:
        screen.note(f"\nearlier runs: segue show {task} --run 0 to {timeline.run - 1}")
    for question in timeline.open_questions:
        screen.note(f"\n{how_to_answer(question)}")


@click.command(name="watch")
@task_argument
@app_option
@output_option
@asynchronous
async def watch_task(task: str, app: str | None, output: str) -> None:
    """Follow the events of TASK until it ends; exit code 1 if it fails.

    On a terminal you can answer its questions.
    """
    async with Client(Settings.load()) as client:
        await _follow(client, task, find_app(app) if app else None, output)


async def _follow(
    client: Client, task: str, app: App | None, output: str, *, leave_parked: bool = False
) -> None:
    if output == "json":
        screen = Screen(terminal(stderr=True))
        listener, answerer = emit_timeline_event, None
    else:
        screen = Screen()
        listener, answerer = None, at_the_terminal(screen)
    timeline = await watch(
        client, task, screen, app=app, answerer=answerer, listener=listener, leave_parked=leave_parked
    )
    if timeline.state != "succeeded":
        sys.exit(TASK_FAILED)


def _input(given: str | None) -> Any:
    if given is None:
        return ABSENT
    return json_or_text(click.get_text_stream("stdin").read() if given == "-" else given)


def _table(statuses: list[Status], *, narrow: bool) -> Table:
    """Return the table. A narrow one leaves out the seconds and the cost, to show more of the question."""
    table = plain_table("TASK", "WORKFLOW", "STATE", "STARTED", "TOOK", right=("TOOK",))
    counted = not narrow and any(status.spent for status in statuses)
    if counted:
        table.add_column("SPENT", justify="right", no_wrap=True)
    table.add_column("")
    for status in statuses:
        table.add_row(
            status.task,
            status.workflow,
            Text(status.state, style=STATE_STYLE[status.state]),
            moment_of(status.started_ms)[DAY_AND_MINUTE if narrow else slice(None)],
            duration(status.at_ms - status.started_ms) if status.state in STATES[3:] else "",
            *([spent_line(status.spent) if status.spent else ""] if counted else []),
            cut(standing(status), style="dim"),
        )
    return table


def _document(timeline: Timeline) -> dict[str, Any]:
    """Return the timeline without its internal fields."""
    return {
        "task": timeline.task,
        "workflow": timeline.workflow,
        "version": timeline.version,
        "state": timeline.state,
        "input": timeline.input,
        "result": timeline.result,
        "problem": timeline.problem,
        "not_undone": timeline.not_undone,
        "view": timeline.view,
        "run": timeline.run,
        "next_input": timeline.next_input,
        "spent": timeline.spent,
        "started_ms": timeline.started_ms,
        "ended_ms": timeline.ended_ms,
        "steps": [
            {
                "number": step.number,
                "kind": step.kind,
                "undoes": step.undoes,
                "name": step.name,
                "outcome": step.outcome,
                "started_ms": step.started_ms,
                "ended_ms": step.ended_ms,
                "due_ms": step.due_ms,
                "attempts": [step.attempts[number] for number in sorted(step.attempts)],
                "question": step.question,
                "asked": step.asked,
                "answered_by": step.answered_by,
                "answers": list(step.answers.values()),
                "choice": step.choice,
                "spent": step.consumed,
                "result": step.result,
                "problem": step.problem,
            }
            for step in timeline.in_order
        ],
        "signals": list(timeline.signals.values()),
    }
