"""The page of the tasks: server-side HTML over what stands on Kafka, for people with a browser.

    Kafka ─▶ source ─┬▶ index (where every task stands) ─▶ /, /questions
                     ├▶ history, a Timeline ─▶ /tasks/ID
                     └▶ follow ─▶ live: the parts that changed, by server-sent events
    forms ─▶ guard ─▶ forms ─▶ source ─▶ `signals`

Each page is whole without JavaScript; `static/page.js` keeps it as it would be if it were loaded now. All
that models, tools and people wrote is escaped by the templates, and nothing inline would run if it were not.
"""

import socket
from collections.abc import Iterable

from segue.streams.process.http_server import listen_at, serve
from segue.streams.ui.guard import Guard, Place
from segue.streams.ui.server import Page
from segue.streams.ui.source import KafkaSource, Source

__all__ = ["Guard", "KafkaSource", "Page", "Place", "opened", "serve_page"]

DRAIN_S = 5


def opened(
    host: str, port: int, names: Iterable[str] = (), inherited: int | None = None
) -> tuple[Place, socket.socket]:
    """Where the page is served. Raises `Unavailable` if the port is taken.

    `inherited` is the number of the socket where the process that started this one listens there already.
    """
    address = host.strip("[]")
    listening = listen_at(address, port) if inherited is None else socket.socket(fileno=inherited)
    known = frozenset(name.lower() for name in names)
    return Place(host.strip("[]"), listening.getsockname()[1], known), listening


async def serve_page(
    source: Source, place: Place, listening: socket.socket, *, read_only: bool = False
) -> None:
    """Until it is cancelled."""
    page = Page(source, read_only=read_only)
    await serve(Guard(page.app, place), listening, DRAIN_S, page.close)
