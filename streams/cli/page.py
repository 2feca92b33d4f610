"""Command: page."""

import asyncio
import logging
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager

import click

from streams.cli.output import asynchronous
from streams.cli.terminal import say
from streams.problems import Redacting
from streams.settings import Settings
from topics.errors import Unavailable

HOST = "127.0.0.1"


@click.command()
@click.option("--host", default=HOST, show_default=True, help="The address to listen at.")
@click.option("--port", type=click.IntRange(0, 65_535), help="9465 if not given; 0 is any that is free.")
@click.option("--name", "names", multiple=True, help="Another name that it is reached by; may be repeated.")
@click.option("--read-only", is_flag=True, help="Without answers, signals and cancellations.")
@asynchronous
async def page(host: str, port: int | None, names: tuple[str, ...], read_only: bool) -> None:
    """Serve a page of the tasks: what they do, and what they ask, to answer there. Needs no worker.

    It has no login: whoever reaches its address may do what it can.
    """
    handler = logging.StreamHandler()
    handler.setFormatter(Redacting("%(asctime)s %(levelname)-7s %(name)s: %(message)s"))
    logging.basicConfig(level=logging.WARNING, handlers=[handler])
    from streams.page import KafkaSource, opened, serve_page
    from streams.reader import Reader

    settings = Settings.load()
    async with Reader(settings):
        pass  # without a broker there is nothing to serve
    place, listening = opened(host, settings.page_port if port is None else port, names)
    if not place.is_loopback:
        may = "see every task" if read_only else "see every task, answer, signal and cancel"
        say(f"there is no login: whoever reaches {host}:{place.port} may {may}", err=True)
    async with KafkaSource(settings) as source:
        say(f"the tasks are at {place.url}", err=True)
        await serve_page(source, place, listening, read_only=read_only)


@asynccontextmanager
async def page_beside(settings: Settings, say: Callable[[str], None]) -> AsyncGenerator[None]:
    """The page while the block runs; without it where its port is taken."""
    from streams.page import KafkaSource, opened, serve_page

    try:
        place, listening = opened(HOST, settings.page_port)
    except Unavailable as error:
        say(f"no page of the tasks: {error}; SEGUE_PAGE_PORT names another port")
        yield
        return
    async with KafkaSource(settings) as source:
        serving = asyncio.create_task(serve_page(source, place, listening))
        say(f"the tasks are at {place.url}")
        try:
            yield
        finally:
            serving.cancel()
            await asyncio.wait([serving])
