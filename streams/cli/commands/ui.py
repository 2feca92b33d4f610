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
@click.option("--host", default=HOST, show_default=True, help="The address to listen at.")
@click.option("--port", type=click.IntRange(0, 65_535), help="9465 if not given; 0 is any that is free.")
@click.option("--name", "names", multiple=True, help="Another name that it is reached by; may be repeated.")
@click.option("--read-only", is_flag=True, help="Without answers, signals and cancellations.")
@click.option("--inherited", type=int, hidden=True, help="The number of a socket that listens there already.")
@asynchronous
async def ui(
    host: str, port: int | None, names: tuple[str, ...], read_only: bool, inherited: int | None
) -> None:
    """Serve a page of the tasks: what they do, and what they ask, to answer there. Needs no worker.

    It has no login: whoever reaches its address may do what it can.
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
        say(f"there is no login: whoever reaches {host}:{place.port} may {may}", err=True)
    async with KafkaSource(settings) as source:
        say(f"the tasks are at {place.url}", err=True)
        await serve_page(source, place, listening, read_only=read_only)


@asynccontextmanager
async def ui_beside(settings: Settings, say: Callable[[str], None]) -> AsyncGenerator[None]:
    """The page while the block runs; without it if its port is taken.

    In a process of its own: a worker with many calls in flight keeps its event loop busy, and with it whoever
    would read there.
    """
    from segue.processors.app.app import Service
    from segue.streams.local.services import Services
    from segue.streams.ui import opened

    try:
        place, listening = opened(HOST, settings.ui_port)
    except Unavailable as error:
        say(f"no page of the tasks: {error}; SEGUE_UI_PORT names another port")
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
