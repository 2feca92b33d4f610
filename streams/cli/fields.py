"""A task's result as a person reads it: a field on each line.

hotel      Casa das Figueiras, Ericeira ★★★★
check_in   2027-10-01
"""

from collections.abc import Iterable, Mapping
from typing import Any, cast

from segue.processors.formatting import preview
from segue.streams.cli.terminal import Text

INDENT = "  "


def fields(value: Any) -> Iterable[Text]:
    """Nothing for no value; a single line for what is no object."""
    if not isinstance(value, Mapping):
        yield from (Text(INDENT + line) for line in (preview(value),) if line)
        return
    entries = cast("Mapping[str, Any]", value)
    width = max(map(len, entries), default=0)
    for name, inner in entries.items():
        if inner is not None:
            yield Text(INDENT).append(f"{name:<{width}}  ", style="dim").append(preview(inner))
