"""Command: broker, with start, stop, status and logs."""

import asyncio
from typing import Any

import click

from segue.streams.cli.output import asynchronous, emit, emit_document, output_option
from segue.streams.cli.terminal import say
from segue.streams.kafka.provisioning import provision
from segue.streams.local.broker import broker_status, ensure_broker, stop_broker
from segue.streams.settings import Settings
from segue.topics.errors import BadInput, UnknownName

NOTHING_ANSWERS = 4
LOG_POLL_S = 0.5


@click.group()
def broker() -> None:
    """The local Kafka, shared by all commands that use the same SEGUE_STATE_DIR."""


@broker.command()
@output_option
@asynchronous
async def start(output: str) -> None:
    """Start the local Kafka if it does not run, and create the topics."""
    settings = Settings.load()
    await ensure_broker(settings, lambda line: say(line, err=True))
    await provision(settings)
    _report(output, f"Kafka answers at {settings.bootstrap}", bootstrap=settings.bootstrap)


@broker.command()
@output_option
@asynchronous
async def stop(output: str) -> None:
    """Stop the local Kafka. Its data is kept."""
    settings = _local()
    stopped = await stop_broker(settings)
    _report(output, "stopped" if stopped else "no local broker was running", stopped=stopped)


@broker.command()
@output_option
@asynchronous
async def status(output: str) -> None:
    """Show the broker's address, process, memory and disk use. Exit code 4 if no broker answers."""
    found = await broker_status(Settings.load())
    if output == "json":
        emit_document(found._asdict())
    else:
        say(f"{found.bootstrap}: {'answers' if found.answers else 'no broker answers'}")
        if found.pid is not None:
            mb = 1024 * 1024
            say(
                f"Kafka {found.version}, process {found.pid}: {found.memory_bytes // mb} MB of memory, "
                f"{found.disk_bytes // mb} MB in {found.folder}"
            )
    if not found.answers:
        raise SystemExit(NOTHING_ANSWERS)


@broker.command()
@click.option("--lines", "-n", type=click.IntRange(min=1), default=50, show_default=True)
@click.option("--follow", "-f", is_flag=True, help="Print new lines as they are written.")
@asynchronous
async def logs(lines: int, follow: bool) -> None:
    """Print the last lines of the local Kafka's log."""
    path = _local().state_dir / "broker" / "broker.log"
    if not path.is_file():
        raise UnknownName(
            f"no log at {path}: the broker has not run here; start it with `segue broker start`"
        )
    with path.open(errors="replace") as file:
        say("".join(file.readlines()[-lines:]), nl=False)
        while follow:
            say(file.read(), nl=False)
            await asyncio.sleep(LOG_POLL_S)


def _local() -> Settings:
    settings = Settings.load()
    if settings.kafka is not None:
        raise BadInput(
            f"SEGUE_KAFKA is set ({settings.kafka}), and this command is for the local broker only: unset it"
        )
    return settings


def _report(output: str, sentence: str, **fields: Any) -> None:
    emit(fields) if output == "json" else say(sentence)
