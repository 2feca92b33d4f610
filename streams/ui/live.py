"""What happens to an open task, as the parts of its page that change by it: server-sent events.

    records of the task ─┐
    what its models write ┴▶ one line ─▶ gathered for a moment ─▶ HTML of the parts that are not as they were

The first event has all that the page shows, so nothing that happened while it was loaded is missed. A browser
that lost its connection begins anew; so does one whose connection is closed after `FOLLOWED_S_MAX`.

Each stream costs two consumers and renders its task again and again. So there are at most `FOLLOWED_MAX`, and
all of them together render for a third of the time at most: the more there are, the longer each gathers.
"""

import asyncio
import re
import time
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import suppress

from starlette.responses import StreamingResponse
from starlette.types import Receive, Scope, Send

from segue.processors.views.timeline import Timeline
from segue.processors.views.token_stream import Piece
from segue.streams.ui.source import Source
from segue.topics.errors import SegueError, Unavailable
from segue.topics.flow import Received

GATHERED_S = 0.1
"""What happens within this is one event: a person sees no more, and a busy task is not rendered each time."""

ALIVE_EVERY_S = 15.0
"""Proxies close a connection that says nothing."""

FOLLOWED_MAX = 32
FOLLOWED_S_MAX = 600.0

LINE_MAX = 1_000
"""Records that were read and not yet shown: whoever takes no more of them keeps no more from being read."""

WRITTEN_CHARS_MAX = 4_000
"""Of a text that a model is writing: its end."""

Happened = Received | Piece | SegueError | None
Parts = dict[str, str]


class Followed:
    """The streams that are open."""

    def __init__(self) -> None:
        self.open = 0
        self.closing = asyncio.Event()

    def rest_s(self, rendering_s: float) -> float:
        """How long a stream gathers whose last rendering took so long."""
        return max(GATHERED_S, 3 * self.open * rendering_s)


class Stream(StreamingResponse):
    """Server-sent events, counted among those that are open. Raises `Unavailable` if there are too many."""

    def __init__(self, events: AsyncGenerator[bytes], followed: Followed) -> None:
        if followed.open >= FOLLOWED_MAX:
            raise Unavailable(
                f"{FOLLOWED_MAX} tasks are followed live, which is the maximum: close some tabs"
            )
        fresh = {"Cache-Control": "no-store"}
        super().__init__(events, media_type="text/event-stream", headers=fresh)
        followed.open += 1
        self._events, self._followed = events, followed

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await super().__call__(scope, receive, send)
        finally:
            self._followed.open -= 1
            await self._events.aclose()  # else it would hold its consumers until it is collected


async def following(
    source: Source,
    timeline: Timeline,
    written: dict[int, str],
    parts: Callable[[], Awaitable[Parts]],
    followed: Followed,
) -> AsyncGenerator[bytes]:
    """`parts` are the elements of the page by their ids, as `timeline` and `written` have them then."""
    line: asyncio.Queue[Happened] = asyncio.Queue(LINE_MAX)
    pumps = [
        asyncio.create_task(_pump(source.follow(timeline.task), line)),
        asyncio.create_task(_listen(source.tokens(timeline.task), line)),
        asyncio.create_task(_close(followed.closing, line)),
    ]
    shown: Parts = {}
    until_s, rendering_s = time.monotonic() + FOLLOWED_S_MAX, 0.0
    try:
        while time.monotonic() < until_s:
            batch = await _batch(line, followed.rest_s(rendering_s))
            if not batch:
                yield b": still there\n\n"
                continue
            for happened in batch:
                _fold(happened, timeline, written)
            begun_s = time.monotonic()
            try:
                now = await parts()
            except SegueError:  # the browser comes again, and is told then
                return
            rendering_s = time.monotonic() - begun_s
            if changed := [html for key, html in now.items() if shown.get(key) != html]:
                yield _event("parts", "".join(changed))
            shown = now
            if batch[-1] is None:
                yield _event("end", "")
                return
            if isinstance(batch[-1], SegueError):
                return
    finally:
        for pump in pumps:
            pump.cancel()
        await asyncio.gather(*pumps, return_exceptions=True)


async def _pump(records: AsyncIterator[Received], line: "asyncio.Queue[Happened]") -> None:
    """None follows the last record, an error whatever was there before it."""
    try:
        async for record in records:
            await line.put(record)
    except SegueError as error:
        await line.put(error)
    else:
        await line.put(None)


async def _listen(pieces: AsyncIterator[Piece], line: "asyncio.Queue[Happened]") -> None:
    """Beside the task's course: that ends, or fails, for both."""
    with suppress(SegueError):
        async for piece in pieces:
            await line.put(piece)


async def _close(closing: asyncio.Event, line: "asyncio.Queue[Happened]") -> None:
    await closing.wait()
    await line.put(Unavailable("the page closes"))


async def _batch(line: "asyncio.Queue[Happened]", rest_s: float) -> list[Happened]:
    """All that happens within a moment; nothing if nothing does for long. An end stands last."""
    try:
        async with asyncio.timeout(ALIVE_EVERY_S):
            batch = [await line.get()]
    except TimeoutError:
        return []
    await asyncio.sleep(rest_s)
    while not line.empty():
        batch.append(line.get_nowait())
    return sorted(batch, key=lambda happened: happened is None or isinstance(happened, SegueError))


def _fold(happened: Happened, timeline: Timeline, written: dict[int, str]) -> None:
    match happened:
        case Received():
            timeline.apply(happened)
        case Piece():
            before = "" if happened.anew else written.get(happened.step, "")
            written[happened.step] = (before + happened.text)[-WRITTEN_CHARS_MAX:]
        case _:
            pass


def _event(name: str, data: str) -> bytes:
    lines = "".join(f"data: {line}\n" for line in re.split("\r\n|\r|\n", data))
    return f"event: {name}\n{lines}\n".encode()
