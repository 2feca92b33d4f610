"""What happens to a task reaches a page that is open."""

import asyncio
import re
from collections.abc import AsyncIterator
from typing import Any

from starlette.types import Message

from segue.processors.views.timeline import Timeline
from segue.processors.views.token_stream import Piece
from segue.streams.ui import Page
from segue.streams.ui.live import FOLLOWED_MAX, LINE_MAX, WRITTEN_CHARS_MAX, Followed, following
from segue.streams.ui.rendering import TaskView, environment
from segue.topics.flow import Received
from tests.builders import call_model, received
from tests.page.played import Played, browser, status

SCOPE: dict[str, Any] = {
    "type": "http",
    "method": "GET",
    "path": "/live",
    "query_string": b"task=t",
    "headers": [],
}


async def test_what_happened_is_sent_in_parts_up_to_the_end(source: Played) -> None:
    await source.start("trip", "single")
    await source.answer("t", "alba")
    async with browser(source) as there:
        events = (await there.get("/live?task=t")).text
    assert events.startswith('event: parts\ndata: <section id="head"')
    assert events.endswith("event: end\ndata: \n\n")
    assert re.findall(r'<li id="(step-\d)"', events) == ["step-0", "step-1", "step-2"]
    assert "<script>" not in events


async def test_what_a_model_writes_is_sent_while_it_writes_it(source: Played) -> None:
    class Writing(Played):
        async def follow(self, task: str) -> AsyncIterator[Received]:
            yield received("model-calls", call_model(step=0))
            await asyncio.sleep(3600)

        async def tokens(self, task: str) -> AsyncIterator[Piece]:
            for number, text in enumerate(("Once <b>upon", " a time", "Twice" + "." * 5000)):
                yield Piece(0, 1, "rank", "m", text, number == 2, "running", number)
                await asyncio.sleep(0.2)

    seen: list[str] = []
    timeline, written = Timeline("t"), dict[int, str]()

    async def parts() -> dict[str, str]:
        return {"0": written.get(0, "")}

    followed = Followed()
    async for event in following(Writing(), timeline, written, parts, followed):
        seen.append(event.decode())
        if len(seen) == 3:
            followed.closing.set()
    assert [each.split("data: ")[1].strip() for each in seen] == [
        "Once <b>upon",
        "Once <b>upon a time",
        "." * WRITTEN_CHARS_MAX,
    ]
    view = TaskView(timeline, status(1, "running"), written={0: "Once <b>upon"})
    parts_of: Any = environment(read_only=False).get_template("parts.html").module
    assert "<pre>Once &lt;b&gt;upon</pre>" in parts_of.step(view, timeline.steps[0])


class Endless(Played):
    """A task of which there is no end of records."""

    def __init__(self) -> None:
        super().__init__()
        self.read = 0

    async def follow(self, task: str) -> AsyncIterator[Received]:
        while True:
            self.read += 1
            yield received("model-calls", call_model(step=0))
            await asyncio.sleep(0)

    async def tokens(self, task: str) -> AsyncIterator[Piece]:
        await asyncio.Event().wait()
        yield Piece(0, 1, "rank", "m", "", False, "running", 0)


async def test_only_so_many_are_followed_and_the_next_is_told_so_until_one_leaves(source: Played) -> None:
    await source.start("letter", "Send?")
    app, leaving = Page(source).app, asyncio.Event()

    async def receive() -> Message:
        await leaving.wait()
        return {"type": "http.disconnect"}

    async def opened() -> int:
        """The status of a stream, which stays open."""
        status: asyncio.Future[int] = asyncio.get_running_loop().create_future()

        async def send(message: Message) -> None:
            if message["type"] == "http.response.start":
                status.set_result(message["status"])

        streams.append(asyncio.create_task(app(SCOPE, receive, send)))
        return await status

    source.follow = Endless().follow  # type: ignore[method-assign]
    streams: list[asyncio.Task[None]] = []
    assert [await opened() for _ in range(FOLLOWED_MAX)] == [200] * FOLLOWED_MAX
    assert await opened() == 503
    async with browser(source) as there:
        assert (await there.get("/tasks/t")).status_code == 200
    leaving.set()
    await asyncio.gather(*streams)
    leaving.clear()
    assert await opened() == 200
    leaving.set()
    await asyncio.gather(*streams)


async def test_whoever_takes_nothing_keeps_no_more_than_so_many_records_in_memory() -> None:
    source, timeline = Endless(), Timeline("t")

    async def parts() -> dict[str, str]:
        return {"0": str(source.read)}

    events = following(source, timeline, {}, parts, Followed())
    await anext(events)
    for _ in range(5 * LINE_MAX):
        await asyncio.sleep(0)
    taken = source.read
    for _ in range(5 * LINE_MAX):
        await asyncio.sleep(0)
    assert source.read == taken
    await events.aclose()
