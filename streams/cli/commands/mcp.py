"""Command: mcp."""

import logging

import click

from segue.streams.calls.failures import Redacting
from segue.streams.cli.apps import app_argument, find_app
from segue.streams.cli.cluster import ensure_cluster
from segue.streams.cli.output import asynchronous
from segue.streams.cli.terminal import say
from segue.streams.client.client import Client
from segue.streams.settings import Settings
from segue.topics.errors import BadInput
from segue.topics.extras import require


@click.command()
@app_argument
@click.option(
    "--http",
    metavar="HOST:PORT",
    help="Serve streamable HTTP at this address; stdin and stdout if not given.",
)
@click.option(
    "--ask",
    multiple=True,
    metavar="WHO",
    help="Show clients only the questions that are addressed to WHO; may be repeated.",
)
@click.option(
    "--wait", type=click.FloatRange(min=0, min_open=True), help="Return from a call after this many seconds."
)
@click.option(
    "--tenant", help="The tenant of the tasks that are started, and whose tasks clients can access."
)
@asynchronous
async def mcp(
    app: str | None, http: str | None, ask: tuple[str, ...], wait: float | None, tenant: str | None
) -> None:
    """Serve the workflows of APP as tools to MCP clients. This command runs no worker: start one separately.

    \b
    segue mcp examples/travel
    segue mcp examples/travel --http 127.0.0.1:8000 --ask customer
    """
    require("mcp")
    found, settings = find_app(app), Settings.load()
    handler = logging.StreamHandler()  # stderr: stdout is the protocol's
    handler.setFormatter(Redacting("%(asctime)s %(levelname)-7s %(name)s: %(message)s"))
    logging.basicConfig(level=logging.WARNING, handlers=[handler])
    from segue.streams.mcp_server import Terms, listening_at, serve_http, serve_stdio, server_of

    terms = Terms(frozenset(ask) or None, wait, tenant)
    token = settings.mcp_token.get_secret_value() if settings.mcp_token else None
    host, port = _address(http) if http else ("", 0)
    listening = listening_at(host, port, token) if http else None
    await ensure_cluster(settings, lambda line: say(line, err=True))
    async with Client(settings) as client:
        server = server_of(found, client, terms)
        if listening is None:
            await serve_stdio(server)
            return
        say(f"{found.name} at http://{host}:{listening.getsockname()[1]}/mcp", err=True)
        await serve_http(server, listening, host, token)


def _address(given: str) -> tuple[str, int]:
    host, _, port = given.rpartition(":")
    if not host or not port.isdecimal() or int(port) > 65_535:
        raise BadInput(f"{given!r} is not an address: give --http HOST:PORT, such as 127.0.0.1:8000")
    return host.strip("[]"), int(port)
