"""Follows a task on the screen, and puts its questions to whoever can answer them."""

import asyncio
import sys
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from typing import Any

import click

from segue.processors.app.app import App
from segue.processors.formatting import headline
from segue.processors.views.timeline import Timeline
from segue.processors.views.timeline_events import TimelineEvent
from segue.streams.cli.output import command_name, emit
from segue.streams.cli.render import Screen
from segue.streams.client.answers import check_answer, chosen, listed
from segue.streams.client.client import Client
from segue.topics.errors import BadInput, TooLate, UnknownName
from segue.topics.records import Question

SETTLED_S = 0.2
"""A question that was answered long ago is followed by its answer at once: don't ask it again."""

LAST_WORDS_S = 2.0
"""The end of a task may be told before the last that its models wrote."""

NOBODY_WORKS_S = 5.0
"""A worker takes a task up within milliseconds; after this it is time to say that none does."""

NOBODY_WORKS = "no worker has taken the task up yet: start one with `segue worker APP`"

Answerer = Callable[[Question], Awaitable[Any]]
"""Gets the answer to a question, a JSON value."""

Listener = Callable[[TimelineEvent], None]


def emit_timeline_event(event: TimelineEvent) -> None:
    """A line of JSON."""
    emit(event._asdict())


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
    not_begun: str = NOBODY_WORKS,
    leave_parked: bool = False,
) -> Timeline:
    """Show what happens to the task until it ends. A `listener` gets the moments in the screen's place.

    Without an `answerer` it is said how to answer each question. `not_begun` is told where no worker takes
    the task up within some seconds. With `leave_parked` nobody waits for a parked task's code to be mended.
    """
    tell = listener or screen.event
    timeline = Timeline(task, candidates_of(app))
    try:
        with screen.footer(timeline):
            async with asyncio.TaskGroup() as beside:
                alone = beside.create_task(_say_if_nobody_works(timeline, screen, not_begun))
                writing = beside.create_task(_follow_writing(client, task, screen, listener is not None))
                asking = _Asking(client, answerer, beside, screen)
                async for record in client.follow(task):
                    if event := timeline.apply(record):
                        tell(event)
                        if event.what == "parked" and leave_parked:
                            break
                        if event.what == "parked" and listener is None:
                            _tell_why(timeline, screen)
                    asking.keep(timeline.open_questions)
                alone.cancel()
                await asyncio.wait([writing], timeout=LAST_WORDS_S)
                writing.cancel()
                asking.keep(())
    except BaseExceptionGroup as failures:
        raise failures.exceptions[0] from None
    if listener is None:
        screen.result(timeline.result)
        _tell_why(timeline, screen)
    return timeline


def _tell_why(timeline: Timeline, screen: Screen) -> None:
    """Beyond the problem's message, which the last moment told."""
    if timeline.problem and timeline.problem.traceback:
        screen.note(timeline.problem.traceback.rstrip())
    for left in timeline.not_undone:
        screen.note(f"step {left.step} was not undone, because {left.undo} failed: {left.problem.message}")


class _Asking:
    """Asks questions one at a time while the task runs. If asking fails, the watching ends with that
    error."""

    def __init__(
        self, client: Client, answerer: Answerer | None, beside: asyncio.TaskGroup, screen: Screen
    ) -> None:
        self._client = client
        self._answerer = answerer
        self._beside = beside
        self._screen = screen
        self._one_at_a_time = asyncio.Lock()
        self._asked: dict[int, asyncio.Task[None]] = {}

    def keep(self, still_open: Iterable[Question]) -> None:
        """Ask new questions; stop asking a question that was answered by another client or has closed."""
        questions = {question.step: question for question in still_open}
        for step, question in questions.items():
            if step not in self._asked:
                self._asked[step] = self._beside.create_task(self._ask(question))
        for step in self._asked.keys() - questions.keys():
            self._asked.pop(step).cancel()

    async def _ask(self, question: Question) -> None:
        await asyncio.sleep(SETTLED_S)
        if self._answerer is None:
            self._screen.note(how_to_answer(question))
            return
        async with self._one_at_a_time:
            value = await self._answerer(question)
        self._beside.create_task(
            self._give(question, value)
        )  # its verdict is told even if the question closes

    async def _give(self, question: Question, value: Any) -> None:
        try:
            await self._client.answer(question.task, value, question.step)
        except TooLate as late:
            self._screen.note(str(late))
        except BadInput as refused:
            if not self._screen.is_terminal:
                raise
            self._screen.note(str(refused))
            self._asked[question.step] = self._beside.create_task(self._ask(question))


async def _follow_writing(client: Client, task: str, screen: Screen, as_json: bool) -> None:
    """What models write: as lines of JSON, or in the footer while there is one. It ends with the task."""
    with suppress(UnknownName):  # nobody has taken it up yet: who follows the task itself is told
        async for piece in client.tokens(task):
            if as_json:
                emit({"what": "tokens", **piece._asdict()})
            else:
                screen.written(piece)


async def _say_if_nobody_works(timeline: Timeline, screen: Screen, not_begun: str) -> None:
    await asyncio.sleep(NOBODY_WORKS_S)
    if timeline.started_ms is None and not timeline.ended:
        screen.note(not_begun)


def at_the_terminal(screen: Screen) -> Answerer | None:
    """Return a function that asks the person, or None if stdin or the screen is not a terminal."""
    if not (screen.is_terminal and sys.stdin.isatty()):
        return None

    async def ask(question: Question) -> Any:
        while True:
            with screen.prompting(_prompt(question)):
                text = (await _read_line()).strip()
            try:
                value = chosen(question, text)
                check_answer(question, value)
                if question.options and not text:
                    raise BadInput("the answer is empty: type one")
            except BadInput as error:
                screen.note(_refusal(question, text) or str(error))
            else:
                return value

    return ask


def picking(screen: Screen, number: int) -> Answerer:
    """Picks that option (from 1) of each question, and says so. Raises `BadInput` where there are fewer.

    A question without options is put to the person at the terminal.
    """
    person = at_the_terminal(screen)

    async def pick(question: Question) -> Any:
        if not question.options:
            if person is None:
                raise BadInput(
                    f"question {headline(question.text)!r} has no options to choose from, "
                    "and there is no terminal to type an answer in"
                )
            return await person(question)
        if number > len(question.options):
            asked, there = headline(question.text), listed(question)
            raise BadInput(f"{asked!r} has no option {number}: {there}; {how_to_answer(question)}")
        option = question.options[number - 1]
        screen.note(f"answered automatically: {option.label}")
        return option.value

    return pick


def how_to_answer(question: Question) -> str:
    return f"answer with: {command_name()} answer {question.task} VALUE --step {question.step}"


def _prompt(question: Question) -> str:
    if not question.options:
        return "  your answer: "
    return f"  choose 1 to {len(question.options)}{', or type another answer' if question.answer else ''}: "


def _refusal(question: Question, text: str) -> str | None:
    """The options stand on the screen already; what a question without any allows, the error says."""
    if not question.options or (question.answer and text):
        return None
    return f"{text!r} is not an option" if text else "type the number of an option, or press Ctrl-C"


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
