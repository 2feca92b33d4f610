"""A spare for the search server, and what writes the report."""

import os
import re
import tempfile
from contextlib import suppress
from pathlib import Path

from segue import current_attempt, tool

from . import library
from .models import Passages


@tool
async def search_here(query: str, limit: int = 5) -> Passages:
    """The spare of the search server: the same library, read in this process."""
    return Passages(passages=library.search(query, limit))


@tool
async def publish(text: str) -> str:
    """Write the report of this task, once: a file that is there is of an earlier attempt, and whole."""
    folder = reports()
    path = folder / f"{re.sub(r'[^A-Za-z0-9_-]+', '-', current_attempt().task)}.md"
    with tempfile.TemporaryDirectory(dir=folder) as draft:
        written = Path(draft) / path.name
        written.write_text(text, "utf-8")
        with suppress(FileExistsError):
            path.hardlink_to(written)
    return str(path)


def reports() -> Path:
    folder = Path(os.environ.get("SEGUE_STATE_DIR", ".segue")) / "research"
    folder.mkdir(parents=True, exist_ok=True)
    return folder
