"""Command: worker."""

import logging

import click

from segue.streams.calls.failures import Redacting
from segue.streams.cli.apps import app_argument, find_app
from segue.streams.cli.cluster import ensure_cluster
from segue.streams.cli.inputs import stages_of
from segue.streams.cli.output import asynchronous
from segue.streams.cli.terminal import say
from segue.streams.engine.worker import Worker
from segue.streams.process.garbage_collection import look_for_garbage_less_often
from segue.streams.process.open_files import allow_open_files
from segue.streams.settings import Settings
from segue.topics.contracts import STAGES


@click.command()
@app_argument
@click.option(
    "--stages", help=f"The stages to run, separated by commas: {','.join(STAGES)}. All if not given."
)
@asynchronous
async def worker(app: str | None, stages: str | None) -> None:
    """Run the stages of APP until Ctrl-C or SIGTERM. Any number of workers can share the work.

    \b
    segue worker examples/travel
    segue worker travel.app --stages model,tool
    """
    found, wanted, settings = find_app(app), stages_of(stages), Settings.load()
    logging.basicConfig(level=logging.INFO, handlers=[_to_stderr()])
    for name in ("httpx", "httpx2"):  # a line for each call
        logging.getLogger(name).setLevel(logging.WARNING)
    await ensure_cluster(settings, lambda line: say(line, err=True))
    allow_open_files()
    running = Worker(found, settings, wanted)
    asked_to_stop = running.stop_on_signals()
    await running.start()
    look_for_garbage_less_often()
    try:
        await asked_to_stop.wait()
    finally:
        await running.stop()


def _to_stderr() -> logging.Handler:
    handler = logging.StreamHandler()
    handler.setFormatter(Redacting("%(asctime)s %(levelname)-7s %(name)s: %(message)s"))
    return handler
