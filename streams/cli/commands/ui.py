"""Command: ui."""

import logging
import sys
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager

import click

from segue.streams.calls.failures import Redacting
from segue.streams.cli.output import asynchronous
from segue.streams.cli.terminal import say
from segue.streams.settings import Settings
from segue.topics.errors import Unavailable
from segue.topics.extras import require

HOST = "127.0.0.1"


@click.command()
@click.option("--host", default=HOST, show_default=True, help="The address to listen on.")
@click.option(
    "--port",
    type=click.IntRange(0, 65_535),
    help="The port; SEGUE_UI_PORT (9465) if not given, 0 for any free port.",
)
@click.option(
    "--name",
    "names",
    multiple=True,
    help="Another host name that browsers use for this page; may be repeated.",
)
@click.option("--read-only", is_flag=True, help="Do not accept answers, signals and cancellations.")
@click.option("--inherited", type=int, hidden=True, help="The number of a socket that listens there already.")
@asynchronous
async def ui(
    host: str, port: int | None, names: tuple[str, ...], read_only: bool, inherited: int | None
) -> None:
    """Serve a web page that shows tasks and on which you can answer their questions. It needs no worker.

    The page has no login: everyone who can reach its address can use all of it.
    """
    require("ui")
    handler = logging.StreamHandler()
    handler.setFormatter(Redacting("%(asctime)s %(levelname)-7s %(name)s: %(message)s"))
    logging.basicConfig(level=logging.WARNING, handlers=[handler])
    from segue.streams.kafka.reader import Reader
    from segue.streams.ui import KafkaSource, opened, serve_page

    settings = Settings.load()
    async with Reader(settings):
        pass  # without a broker there is nothing to serve
    place, listening = opened(host, settings.ui_port if port is None else port, names, inherited)
    if not place.is_loopback:
        may = "see every task" if read_only else "see every task, answer, signal and cancel"
        say(f"the page has no login: everyone who can reach {host}:{place.port} can {may}", err=True)
    async with KafkaSource(settings) as source:
        say(f"the tasks are at {place.url}", err=True)
        await serve_page(source, place, listening, read_only=read_only)


@asynccontextmanager
async def ui_beside(settings: Settings, say: Callable[[str], None]) -> AsyncGenerator[None]:
    """Serve the page while the block runs. If its port is in use, run the block without the page.

    The page has its own process, because a worker with many calls in flight keeps its event loop busy, and
    the page would be slow in it.
    """
    from segue.processors.app.app import Service
    from segue.streams.local.services import Services
    from segue.streams.ui import opened

    try:
        place, listening = opened(HOST, settings.ui_port)
    except Unavailable as error:
        say(f"the web page is not served: {error}; set SEGUE_UI_PORT to another port")
        yield
        return
    number = listening.fileno()
    command = (sys.executable, "-P", "-m", "segue.streams.cli", "ui", "--inherited", str(number))
    served = Services([Service("ui", command)], settings.state_dir / "services", pass_fds=(number,))
    try:
        with listening:
            await served.start()
        say(f"the tasks are at {place.url}")
        yield
    finally:
        await served.stop()
