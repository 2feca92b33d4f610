"""Tables as wide as the terminal: ids and states are shown whole, and only the last column is cut.

A pipe or file gets everything.
"""

from collections.abc import Collection
from typing import Any

from rich.table import Table

from segue.streams.cli.terminal import Text, terminal
from segue.streams.text.control_characters import visible


class PlainTable(Table):
    def add_row(self, *cells: Any, **options: Any) -> None:
        """Add a row with each cell on one line: a second line could be mistaken for a row."""
        super().add_row(*(visible(cell) if isinstance(cell, str) else cell for cell in cells), **options)


def plain_table(*headings: str, right: Collection[str] = ()) -> Table:
    """Return a table with these columns, which do not wrap; the columns in `right` are right-aligned."""
    table = PlainTable(box=None, pad_edge=False, header_style="dim", show_edge=False)
    for heading in headings:
        table.add_column(heading, no_wrap=True, justify="right" if heading in right else "left")
    return table


def cut(text: str, style: str = "") -> Text:
    """Return the text on one line, cut at the width that the other columns leave."""
    return Text(" ".join(text.split()), style=style, no_wrap=True, overflow="ellipsis")


def print_table(table: Table) -> None:
    """A pipe gets the columns without the blanks that fill them up on the right."""
    console = terminal()
    if console.is_terminal:
        console.print(table)
        return
    with console.capture() as captured:
        console.print(table)
    for line in captured.get().splitlines():
        console.print(Text(line.rstrip()), soft_wrap=True)
