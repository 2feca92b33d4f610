"""Follows a task on the screen, and puts its questions to whoever can answer them."""

import asyncio
import sys
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

import click

from processors.app import App
from processors.timeline import Moment, Timeline
from streams.answers import check_answer, chosen
from streams.cli.output import emit
from streams.cli.render import Screen
from streams.gateway import Client
from topics.errors import BadInput
from topics.records import Question

SETTLED_S = 0.2
"""A question that was answered long ago is followed by its answer at once: don't ask it again."""

NOBODY_WORKS_S = 5.0
"""A worker takes a task up within milliseconds; after this it is time to say that none does."""

Answerer = Callable[[Question], Awaitable[Any]]
"""Gets the answer to a question, a JSON value."""

Listener = Callable[[Moment], None]


def emit_moment(moment: Moment) -> None:
    """A line of JSON."""
    emit(moment._asdict())


def candidates_of(app: App | None) -> Mapping[str, Sequence[str]]:
    """The names of each route's candidates, for those who have the app."""
    return {name: route.names for name, route in app.routes.items()} if app else {}


async def watch(
    client: Client,
    task: str,
    screen: Screen,
    *,
    app: App | None = None,
    answerer: Answerer | None = None,
    listener: Listener | None = None,
) -> Timeline:
    """Show what happens to the task until it ends. A `listener` gets the moments in the screen's place."""
    tell = listener or screen.moment
    timeline = Timeline(task, candidates_of(app))
    asking: dict[int, asyncio.Task[None]] = {}
    alone = asyncio.create_task(_say_if_nobody_works(timeline, screen))
    one_at_a_time = asyncio.Lock()
    try:
        with screen.footer(timeline):
            async for record in client.follow(task):
                moment = timeline.apply(record)
                if moment:
                    tell(moment)
                if answerer:
                    _keep_asking(client, timeline, asking, answerer, one_at_a_time)
                _raise_failures(asking)
    finally:
        for waiting in (alone, *asking.values()):
            waiting.cancel()
        await asyncio.gather(alone, *asking.values(), return_exceptions=True)
    return timeline


def _keep_asking(
    client: Client,
    timeline: Timeline,
    asking: dict[int, asyncio.Task[None]],
    answerer: Answerer,
    one_at_a_time: asyncio.Lock,
) -> None:
    """Ask what is newly open; stop asking what was answered elsewhere or has closed."""
    still_open = {question.step: question for question in timeline.open_questions}
    for step, question in still_open.items():
        if step not in asking:
            asking[step] = asyncio.create_task(_ask(client, question, answerer, one_at_a_time))
    for step in asking.keys() - still_open.keys():
        asking[step].cancel()


def _raise_failures(asking: Mapping[int, asyncio.Task[None]]) -> None:
    for waiting in asking.values():
        if waiting.done() and not waiting.cancelled() and (error := waiting.exception()):
            raise error


async def _ask(client: Client, question: Question, answerer: Answerer, one_at_a_time: asyncio.Lock) -> None:
    await asyncio.sleep(SETTLED_S)
    async with one_at_a_time:
        value = await answerer(question)
        await client.answer(question.task, value, question.step)


async def _say_if_nobody_works(timeline: Timeline, screen: Screen) -> None:
    await asyncio.sleep(NOBODY_WORKS_S)
    if timeline.started_ms is None and not timeline.ended:
        screen.note("no worker has taken the task up yet: start one with `segue worker APP`")


def at_the_terminal(screen: Screen) -> Answerer | None:
    """Asks the person, if there is one: stdin and the screen are terminals."""
    if not (screen.is_terminal and sys.stdin.isatty()):
        return None

    async def ask(question: Question) -> Any:
        while True:
            with screen.prompting(_prompt(question)):
                text = (await _read_line()).strip()
            try:
                value = chosen(question, text)
                check_answer(question, value)
            except BadInput as error:
                screen.note(str(error))
            else:
                return value

    return ask


def picking(screen: Screen, number: int) -> Answerer:
    """Picks that option (from 1) of each question, and says so; the last one where there are fewer."""

    async def pick(question: Question) -> Any:
        if not question.options:
            raise BadInput(
                f"{question.text!r} has no options to pick from: run this at a terminal to answer it"
            )
        option = question.options[min(number, len(question.options)) - 1]
        screen.note(f"picked for you: {option.label}")
        return option.value

    return pick


def _prompt(question: Question) -> str:
    return f"  pick 1 to {len(question.options)}: " if question.options else "  your answer: "


async def _read_line() -> str:
    """A line from the terminal, without a thread: a thread could not be stopped when the question closes."""
    loop = asyncio.get_running_loop()
    line: asyncio.Future[str] = loop.create_future()

    def read() -> None:
        if not line.done():
            line.set_result(sys.stdin.readline())

    loop.add_reader(sys.stdin.fileno(), read)
    try:
        text = await line
    finally:
        loop.remove_reader(sys.stdin.fileno())
    if not text:  # the end of the file: Ctrl-D
        raise click.Abort
    return text
