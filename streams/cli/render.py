"""What a task looks like on a screen: one line for each thing that happens, as wide as the terminal.

    12:03:01.2    0  model    interpret     offline-travel  attempt 1   ✓    34 ms  place=Lisbon …
    12:03:01.9    2  tool     availability  rooms           attempt 1   ✗   8.0 ms  503: being counted
    12:03:01.9    2  retry    availability  rooms           attempt 2   ↻           in 400 ms
    12:03:04.1    4  ask      customer      …  Which hotel?

On a terminal a footer tells what is running now; elsewhere the lines are plain and never cut.
"""

import time
from collections.abc import Generator, Iterable, Mapping
from contextlib import contextmanager
from typing import Any, NamedTuple

from rich.cells import cell_len
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.spinner import Spinner
from rich.table import Table
from rich.text import Text as RichText

from segue.processors.formatting import duration, preview
from segue.processors.views.descriptions import answer_line, duration_ms_of, mark_of, outcome_line, spent_line
from segue.processors.views.timeline import WENT_ON, Timeline
from segue.processors.views.timeline_events import DEADLINE, Attempt, Mark, Step, TimelineEvent
from segue.processors.views.token_stream import Piece
from segue.streams.cli.fields import fields
from segue.streams.cli.terminal import Text, terminal
from segue.streams.client.local_time import clock, moment_of
from segue.streams.text.control_characters import hanging, visible
from segue.topics.parts import Spent
from segue.topics.records import Option

WIDE, MEDIUM = 110, 95
"""Columns from which attempts are written out, and from which it is told who was called."""

REASON_LINES_MAX = 4

WRITTEN_CHARS_MAX = 400
"""Of a text that is being written: its last lines."""

SIGNS: dict[Mark, tuple[str, str]] = {
    "": (" ", " "),
    "ok": ("✓", "ok"),
    "failed": ("✗", "x"),
    "again": ("↻", "~"),
    "waiting": ("…", "?"),
}
"""For each mark, its sign, and what stands for it where the terminal has no Unicode."""

MARK_STYLE: dict[Mark, str] = {"": "", "ok": "green", "failed": "red", "again": "yellow", "waiting": "blue"}
TEXT_STYLE: dict[Mark, str] = {"": "", "ok": "", "failed": "red", "again": "yellow", "waiting": ""}
WHAT_STYLE = {
    "task": "bold",
    "model": "magenta",
    "tool": "cyan",
    "check": "yellow",
    "retry": "yellow",
    "reroute": "bold yellow",
    "again": "yellow",
    "undo": "yellow",
    "choice": "dim",
    "ask": "bold blue",
    "answer": "bold blue",
    "timer": "dim",
    "parked": "bold red",
    "cancel": "bold yellow",
    "dead letter": "bold red",
    "result": "bold",
}
STATE_STYLE = {
    "queued": "dim",
    "running": "cyan",
    "waiting": "blue",
    "parked": "bold red",
    "succeeded": "green",
    WENT_ON: "green",
    "failed": "red",
    "rejected": "red",
    "cancelled": "yellow",
}


LABELS = {"dead letter": "dead"}
CALLS = ("model", "tool", "check", "choice", "retry", "reroute", "again", "undo")
"""Events that name an attempt and the candidate that was called."""


class Columns(NamedTuple):
    """Widths; 0 leaves a column out."""

    clock: int
    what: int
    name: int
    by: int
    attempt: int


WIDE_COLUMNS = Columns(clock=10, what=7, name=18, by=20, attempt=10)
MEDIUM_COLUMNS = Columns(clock=8, what=7, name=14, by=14, attempt=2)
NARROW_COLUMNS = Columns(clock=8, what=7, name=14, by=0, attempt=2)


class Screen:
    """Prints moments. `footer` shows what is running while its block runs."""

    def __init__(self, console: Console | None = None) -> None:
        self.console = console or terminal()
        self._live: Live | None = None
        self._written: dict[int, str] = {}

    @property
    def is_terminal(self) -> bool:
        return self.console.is_terminal

    def event(self, event: TimelineEvent) -> None:
        """One line, and more for a question or a long reason. What came out is for `result`."""
        line = self._event_line(event)
        if event.what == "ask" and event.mark == "waiting":
            self._question(line, event.text, event.options)
            return
        text = "" if event.what == "result" and event.mark == "ok" else event.text
        reason = Text(text, style=TEXT_STYLE[event.mark])
        fits = line.cell_len + reason.cell_len <= self.console.width
        self._line(line + reason if fits or event.mark != "failed" else line)
        if event.mark == "failed" and not fits:
            self._reason(reason)

    def written(self, piece: Piece) -> None:
        """The footer shows the end of what each step's model has written."""
        before = "" if piece.anew else self._written.get(piece.step, "")
        self._written[piece.step] = (before + piece.text)[-WRITTEN_CHARS_MAX:]

    def note(self, text: str) -> None:
        """A sentence of Segue's own, beside what the task does."""
        self.console.print(Text(hanging(text), style="dim italic"), soft_wrap=True)

    @contextmanager
    def footer(self, timeline: Timeline) -> Generator[None]:
        if not self.is_terminal:
            yield
            return
        self._live = Live(
            console=self.console,
            transient=True,
            refresh_per_second=8,
            get_renderable=lambda: _running(timeline, self._written),
        )
        try:
            with self._live:
                yield
        finally:
            self._live = None

    @contextmanager
    def prompting(self, prompt: str) -> Generator[None]:
        """The footer rests while a person types."""
        if self._live:
            self._live.stop()
        try:
            self.console.print(Text(prompt, style="bold blue"), end="")
            yield
        finally:
            if self._live:
                self._live.start()

    # ------------------------------------------------------------ lines

    @property
    def columns(self) -> Columns:
        if self.console.width >= WIDE:
            return WIDE_COLUMNS
        return MEDIUM_COLUMNS if self.console.width >= MEDIUM else NARROW_COLUMNS

    def _line(self, line: RichText) -> None:
        """On one line, whatever stands in it: a second one could pass for another moment."""
        line = RichText(" ").join(line.split("\n")) if "\n" in line.plain else line
        self.console.print(
            line, no_wrap=True, overflow="ellipsis", crop=self.is_terminal, soft_wrap=not self.is_terminal
        )

    def _event_line(self, event: TimelineEvent) -> Text:
        """Calls have columns for who was called and which attempt; the rest follows the name at once."""
        widths = self.columns
        line = Text()
        line.append(f"{clock(event.at_ms)[: widths.clock]}  ", style="dim")
        line.append(f"{_number(event.step)}  ", style="dim")
        line.append(
            _cell(LABELS.get(event.what, event.what), widths.what), style=WHAT_STYLE.get(event.what, "")
        )
        line.append(_cell(event.name, widths.name), style=STATE_STYLE.get(event.name, ""))
        if event.what in CALLS:
            self._append_call(line, event.name, event.by, event.attempt)
        line.append(f"{self.sign(event.mark)}  ", style=MARK_STYLE[event.mark])
        if event.what in CALLS:
            line.append(f"{duration(event.duration_ms):>7}  ", style="dim")
        elif event.duration_ms is not None:
            line.append(f"in {duration(event.duration_ms)}  ", style="dim")
        return line

    def _reason(self, reason: Text) -> None:
        """Why something failed is never cut: it goes under the line."""
        lines = reason.wrap(self.console, self.console.width - len(self._indent))
        for line in lines[:REASON_LINES_MAX]:
            self._line(Text(self._indent) + line)

    @property
    def _indent(self) -> str:
        return " " * (self.columns.clock + self.columns.what + 9)

    def _question(self, line: Text, asked: str, options: Iterable[Option]) -> None:
        """Whole: a person decides by it. What does not fit on the step's own line stands under it."""
        first, _, more = asked.strip().partition("\n")
        fits = line.cell_len + cell_len(first) <= self.console.width
        self._line(line + Text(first) if fits else line)
        indent = Text(self._indent)
        for each in (more if fits else asked).rstrip().splitlines():
            self._hung(indent, each)
        for number, option in enumerate(options, 1):
            self._hung(indent + Text(f"{number:>2}  ", style="bold blue"), option.label)

    def _hung(self, head: RichText, text: str) -> None:
        """Wrapped, each line as far in as the first."""
        parts = Text(text).wrap(self.console, max(1, self.console.width - head.cell_len))
        for number, part in enumerate(parts):
            part.rstrip()
            self._line((Text(" " * head.cell_len) if number else head) + part if part else Text())

    def _append_call(self, line: Text, name: str, by: str, attempt: int | None) -> None:
        """A tool that is its own route is named once."""
        line.append(_cell("" if by == name else by, self.columns.by), style="dim")
        line.append(
            _cell(self._attempt(attempt), self.columns.attempt), style="dim" if attempt == 1 else "yellow"
        )

    def _attempt(self, attempt: int | None) -> str:
        if attempt is None:
            return ""
        return f"attempt {attempt}" if self.columns is WIDE_COLUMNS else f"#{attempt}"

    def sign(self, mark: Mark) -> str:
        unicode, plain = SIGNS[mark]
        return unicode if self.console.encoding.startswith("utf") else plain

    # ------------------------------------------------------------ a whole task

    def timeline(self, timeline: Timeline) -> None:
        self._heading(timeline)
        for step in timeline.in_order:
            if step.question is not None and step.outcome == "waiting":
                self._question(self._row(step, None, first=True), step.question.text, step.question.options)
                for line in self._answer_lines(step):
                    self._line(line)
            elif step.name != DEADLINE:
                for line in self._step_lines(step):
                    self._line(line)
        self._ending(timeline)

    def result(self, result: Any) -> None:
        """A field on each line."""
        for line in fields(result):
            self._line(line)

    def _heading(self, timeline: Timeline) -> None:
        head = Text().append(timeline.workflow, style="bold").append(f"  {timeline.task}  ")
        head.append(timeline.state, style=STATE_STYLE.get(timeline.state, ""))
        if timeline.run or timeline.only is not None:
            head.append(f"  run {timeline.run}", style="dim")
        if timeline.started_ms is not None:
            if timeline.ended_ms is not None:
                head.append(f" in {duration(timeline.ended_ms - timeline.started_ms)}")
            head.append(f"  since {moment_of(timeline.started_ms)}", style="dim")
        self._line(head)
        if timeline.input is not None:
            self._line(Text("input   ", style="dim").append(preview(timeline.input)))
        if timeline.state == WENT_ON:
            self._line(Text("next    ", style="dim").append(preview(timeline.next_input)))
        if timeline.view is not None:
            self._line(Text("view    ", style="dim").append(preview(timeline.view)))
        if (spent := timeline.spent) is not None:
            calls = f"{spent.calls:,} {'call' if spent.calls == 1 else 'calls'} of models"
            self._line(Text("spent   ", style="dim").append(f"{spent_line(spent)} in {calls}"))
        for signal in timeline.signals.values():
            self._line(Text("signal  ", style="dim").append(f"{signal.name} {preview(signal.value)}"))
        self.console.print()

    def _step_lines(self, step: Step) -> Iterable[Text]:
        """A line for each attempt; the step's own result stands on the last."""
        if not step.attempts:
            yield self._row(step, None, first=True)
        for position, number in enumerate(sorted(step.attempts)):
            yield self._row(step, step.attempts[number], first=position == 0)
        indent = " " * (5 + self.columns.what + 2)
        if step.choice is not None:
            yield Text(f"{indent}{step.choice.by}: {step.choice.reason}", style="dim")
        yield from self._answer_lines(step)

    def _answer_lines(self, step: Step) -> Iterable[Text]:
        """A line for each answer that did not count, or does not yet: the one that did is the result."""
        indent = " " * (5 + self.columns.what + 2)
        for answer in step.answers.values():
            if not answer.counts:
                yield Text(f"{indent}{answer_line(step, answer)}", style="dim")

    def _row(self, step: Step, attempt: Attempt | None, first: bool) -> Text:
        widths = self.columns
        mark, duration_ms = mark_of(step, attempt), duration_ms_of(step, attempt)
        line = Text()
        line.append(f"{_number(step.number if first else None)}  ", style="dim")
        line.append(_cell(step.what if first else "", widths.what), style=WHAT_STYLE.get(step.what, ""))
        line.append(_cell(step.name if first else "", widths.name))
        line.append(_cell((attempt.by or "") if attempt else "", widths.by), style="dim")
        line.append(_cell(self._attempt(attempt.number if attempt else None), widths.attempt), style="dim")
        line.append(f"{self.sign(mark)}  ", style=MARK_STYLE[mark]).append(
            f"{duration(duration_ms):>8}  ", style="dim"
        )
        if attempt is not None and attempt.usage is not None:
            line.append(f"{spent_line(Spent.of(attempt.usage))}  ", style="dim")
        return line.append(outcome_line(step, attempt), style=TEXT_STYLE[mark])

    def _ending(self, timeline: Timeline) -> None:
        if timeline.result is not None:
            self.console.print()
            self._line(Text("result", style="bold green"))
            self.result(timeline.result)
        for left in timeline.not_undone:
            what = f"not undone: step {left.step}, {left.undo} gave up: {left.problem.message}"
            self.console.print(Text(hanging(what), style="bold red"), soft_wrap=True)
        problem = timeline.problem
        if problem is None:
            return
        self.console.print()
        told = problem.message if problem.type in problem.message else f"{problem.type}: {problem.message}"
        self.console.print(Text(hanging(told), style="bold red"), soft_wrap=True)
        if problem.traceback:
            self.console.print(Text(hanging(problem.traceback.rstrip()), style="dim"), soft_wrap=True)


def _running(timeline: Timeline, written: Mapping[int, str]) -> RenderableType:
    now_ms = time.time() * 1000
    rows: list[RenderableType] = []
    for step in timeline.running:
        attempt = step.last_attempt
        since = duration(max(0.0, now_ms - attempt.started_ms)) if attempt and attempt.started_ms else ""
        grid = Table.grid(padding=(0, 1))
        by = f" {attempt.by}" if attempt and attempt.by and attempt.by != step.name else ""
        grid.add_row(Spinner("dots", style="cyan"), Text(f"{step.kind} {step.name}{by} {since}", style="dim"))
        rows.append(grid)
        if text := written.get(step.number):
            rows.append(Text(text, style="italic"))
    return Group(*rows)


def _number(step: int | None) -> str:
    return f"{'' if step is None else step:>3}"


def _cell(text: str, width: int) -> str:
    """Padded, or cut with an ellipsis, and two spaces after it."""
    if width == 0:
        return ""
    text = visible(text)
    return f"{text if len(text) <= width else text[: width - 1] + '…':<{width}}  "
