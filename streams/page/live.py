"""What happens to an open task, as the parts of its page that change by it: server-sent events.

    records of the task ─┐
    what its models write ┴▶ one line ─▶ gathered for a moment ─▶ HTML of the parts that are not as they were

The first event has all that the page shows, so nothing that happened while it was loaded is missed. A browser
that lost its connection begins anew.
"""

import asyncio
import re
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import suppress

from processors.timeline import Timeline
from processors.writing import Piece
from streams.page.source import Source
from topics.errors import SegueError, Unavailable
from topics.flow import Received

GATHERED_S = 0.1
"""What happens within this is one event: a person sees no more, and a busy task is not rendered each time."""

ALIVE_EVERY_S = 15.0
"""Proxies close a connection that says nothing."""

WRITTEN_CHARS_MAX = 4_000
"""Of a text that a model is writing: its end."""

Happened = Received | Piece | SegueError | None
Parts = dict[str, str]


async def following(
    source: Source,
    timeline: Timeline,
    written: dict[int, str],
    parts: Callable[[], Awaitable[Parts]],
    closing: asyncio.Event,
) -> AsyncGenerator[bytes]:
    """`parts` are the elements of the page by their ids, as `timeline` and `written` have them then."""
    line: asyncio.Queue[Happened] = asyncio.Queue()
    pumps = [
        asyncio.create_task(_pump(source.follow(timeline.task), line)),
        asyncio.create_task(_listen(source.tokens(timeline.task), line)),
        asyncio.create_task(_close(closing, line)),
    ]
    shown: Parts = {}
    try:
        while True:
            batch = await _batch(line)
            if not batch:
                yield b": still there\n\n"
                continue
            for happened in batch:
                _fold(happened, timeline, written)
            try:
                now = await parts()
            except SegueError:  # the browser comes again, and is told then
                return
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
            line.put_nowait(record)
    except SegueError as error:
        line.put_nowait(error)
    else:
        line.put_nowait(None)


async def _listen(pieces: AsyncIterator[Piece], line: "asyncio.Queue[Happened]") -> None:
    """Beside the task's course: that ends, or fails, for both."""
    with suppress(SegueError):
        async for piece in pieces:
            line.put_nowait(piece)


async def _close(closing: asyncio.Event, line: "asyncio.Queue[Happened]") -> None:
    await closing.wait()
    line.put_nowait(Unavailable("the page closes"))


async def _batch(line: "asyncio.Queue[Happened]") -> list[Happened]:
    """All that happens within a moment; nothing if nothing does for long. An end stands last."""
    try:
        async with asyncio.timeout(ALIVE_EVERY_S):
            batch = [await line.get()]
    except TimeoutError:
        return []
    await asyncio.sleep(GATHERED_S)
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
