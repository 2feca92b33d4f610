"""What happens to a task reaches a page that is open."""

import asyncio
import re
from collections.abc import AsyncIterator
from typing import Any

from processors.timeline import Timeline
from processors.writing import Piece
from streams.page.live import WRITTEN_CHARS_MAX, following
from streams.page.rendering import TaskView, environment
from tests.builders import call_model, received
from tests.page.played import Played, browser, status
from topics.flow import Received


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

    closing = asyncio.Event()
    async for event in following(Writing(), timeline, written, parts, closing):
        seen.append(event.decode())
        if len(seen) == 3:
            closing.set()
    assert [each.split("data: ")[1].strip() for each in seen] == [
        "Once <b>upon",
        "Once <b>upon a time",
        "." * WRITTEN_CHARS_MAX,
    ]
    view = TaskView(timeline, status(1, "running"), written={0: "Once <b>upon"})
    parts_of: Any = environment(read_only=False).get_template("parts.html").module
    assert "<pre>Once &lt;b&gt;upon</pre>" in parts_of.step(view, timeline.steps[0])
