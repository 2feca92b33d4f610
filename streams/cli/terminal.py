"""Output to the terminal. Printed text is data: neither markup nor control sequences in it have an effect.

say         a sentence
Terminal    rich's console: no markup in what it prints
Text        rich's text, with what is hidden in it made visible
"""

from collections.abc import Iterable
from typing import Any, Self

import click
from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment
from rich.text import Text as RichText

from segue.streams.text.control_characters import visible

UNCUT = 100_000
"""The width of lines that go to files and pipes."""


def say(text: str, *, err: bool = False, nl: bool = True) -> None:
    click.echo(visible(text, lines=True), err=err, nl=nl)


class Text(RichText):
    """Text with styles. rich drops some control characters silently: they are spelled out before."""

    def __init__(self, text: str = "", style: str = "", **options: Any) -> None:
        super().__init__(visible(text, lines=True), style, **options)

    def append(self, text: RichText | str, style: Any = None) -> Self:
        super().append(visible(text, lines=True) if isinstance(text, str) else text, style)
        return self


class Terminal(Console):
    def __init__(self, **options: Any) -> None:
        super().__init__(highlight=False, markup=False, emoji=False, **options)

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        """Make control characters in all printed text visible; rich's own control sequences stay."""
        for segment in super().render(renderable, options):
            yield segment if segment.control else segment._replace(text=visible(segment.text, lines=True))


def terminal(stderr: bool = False) -> Terminal:
    """The terminal; a pipe or file gets plain lines, which are never cut."""
    console = Terminal(stderr=stderr)
    return console if console.is_terminal else Terminal(stderr=stderr, width=UNCUT)
