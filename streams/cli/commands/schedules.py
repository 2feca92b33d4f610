"""Commands about schedules: list, add, pause, resume, remove."""

from datetime import datetime
from typing import Any, cast

import click

from segue.processors.app.schedules import Missed, Overlap, Spec, Told, check
from segue.streams.cli.apps import app_option, find_app
from segue.streams.cli.inputs import ensure_fits
from segue.streams.cli.output import asynchronous, emit, emit_document, output_option
from segue.streams.cli.render import STATE_STYLE
from segue.streams.cli.tables import cut, plain_table, print_table
from segue.streams.cli.terminal import Text, say
from segue.streams.client.answers import json_or_text
from segue.streams.client.client import Client
from segue.streams.client.local_time import moment_of
from segue.streams.client.schedules import add, listed, tell
from segue.streams.settings import Settings
from segue.topics.parts import ABSENT

STYLE = {"on": STATE_STYLE["running"], "paused": STATE_STYLE["queued"], "running": STATE_STYLE["running"]}


@click.group(invoke_without_command=True)
@output_option
@click.pass_context
def schedules(ctx: click.Context, output: str) -> None:
    """List schedules and the time of each one's next run. An app declares its own, `App(schedules=[…])`."""
    if ctx.invoked_subcommand is None:
        _list(output)


@asynchronous
async def _list(output: str) -> None:
    async with Client(Settings.load()) as client:
        found = await listed(client)
    if output == "json":
        emit_document(found)
        return
    if not found:
        say("no schedules", err=True)
        return
    table = plain_table("SCHEDULE", "WORKFLOW", "CRON", "ZONE", "STATE", "NEXT", "LAST")
    table.add_column("")
    for view in found:
        state = Text(view.state, style=STYLE[view.state])
        when = (_moment(view.next), _moment(view.last))
        table.add_row(view.name, view.workflow, view.cron, view.zone, state, *when, cut(view.problem or ""))
    print_table(table)


@schedules.command(name="add")
@click.argument("name")
@click.argument("workflow")
@click.argument("given", metavar="[INPUT]", required=False)
@click.option("--cron", required=True, help="minute hour day month weekday; six fields begin with seconds.")
@click.option(
    "--zone", default="UTC", show_default=True, help="The time zone of --cron, such as Europe/Lisbon."
)
@click.option("--version", type=int, help="The workflow's version; the newest if not given.")
@click.option(
    "--missed",
    type=click.Choice(["once", "skip", "all"]),
    default="once",
    show_default=True,
    help="Which missed runs to start later, when no worker was running: the last, none, or all.",
)
@click.option(
    "--overlap",
    type=click.Choice(["skip", "wait", "allow"]),
    default="skip",
    show_default=True,
    help="If the last task is still open at the next time: skip the run, wait, or start it too.",
)
@app_option
@output_option
@asynchronous
async def add_schedule(
    name: str, workflow: str, given: str | None, app: str | None, output: str, **options: Any
) -> None:
    """Add schedule NAME, which starts WORKFLOW with INPUT at the times of --cron. If NAME exists, it is
    changed.

    \b
    segue schedules add nightly report '{"of": "sales"}' --cron "0 3 * * *" --zone Europe/Lisbon
    """
    missed, overlap = cast("Missed", options.pop("missed")), cast("Overlap", options.pop("overlap"))
    value = ABSENT if given is None else json_or_text(given)
    spec = Spec(name=name, workflow=workflow, input=value, missed=missed, overlap=overlap, **options)
    check(spec)
    if app is not None:
        ensure_fits(find_app(app).workflow(workflow, spec.version), value)
    async with Client(Settings.load()) as client:
        await add(client, spec)
    _report(output, f"requested schedule {name}: `segue schedules` shows it", name)


@schedules.command()
@click.argument("name")
@output_option
@asynchronous
async def pause(name: str, output: str) -> None:
    """Pause schedule NAME. Runs that are missed while it is paused are skipped."""
    await _tell(name, Told(paused=True), output, f"requested to pause {name}")


@schedules.command()
@click.argument("name")
@output_option
@asynchronous
async def resume(name: str, output: str) -> None:
    """Resume schedule NAME."""
    await _tell(name, Told(paused=False), output, f"requested to resume {name}")


@schedules.command()
@click.argument("name")
@output_option
@asynchronous
async def remove(name: str, output: str) -> None:
    """Remove schedule NAME. A worker whose app declares it adds it again when it starts."""
    await _tell(name, Told(removed=True), output, f"requested to remove {name}")


async def _tell(name: str, told: Told, output: str, sentence: str) -> None:
    async with Client(Settings.load()) as client:
        await tell(client, name, told)
    _report(output, sentence, name)


def _moment(time: datetime | None) -> str:
    return "" if time is None else moment_of(round(time.timestamp() * 1000))


def _report(output: str, sentence: str, name: str) -> None:
    emit({"schedule": name}) if output == "json" else say(sentence)
