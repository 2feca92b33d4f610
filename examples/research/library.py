"""A folder of Markdown documents, searched by words: SQLite's full-text index, ranked by BM25.

A document begins with `# Title (year)`; its paragraphs are the passages. The folder that ships with the
example is of a town that does not exist; `RESEARCH_LIBRARY` names another.
"""

import os
import re
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

from .models import Passage

LIBRARY = Path(os.environ.get("RESEARCH_LIBRARY", Path(__file__).parent / "data" / "library"))
TITLE = re.compile(r"# (?P<title>.+) \((?P<year>\d{4})\)")
WORD = re.compile(r"\w+")

SCHEMA = """
CREATE VIRTUAL TABLE passage USING fts5(
    text, id UNINDEXED, document, year UNINDEXED, tokenize = 'porter unicode61'
)
"""
FOUND = """
SELECT id, document, year, text FROM passage WHERE passage MATCH ? ORDER BY bm25(passage), id LIMIT ?
"""


def search(query: str, limit: int) -> list[Passage]:
    """The passages that have most of the query's words, the rare ones counting more."""
    words = WORD.findall(query)
    if not words:
        return []
    with closing(sqlite3.connect(":memory:")) as index, index:
        index.execute(SCHEMA)
        rows = [(passage.text, passage.id, passage.document, passage.year) for passage in passages()]
        index.executemany("INSERT INTO passage VALUES (?, ?, ?, ?)", rows)
        found = index.execute(FOUND, (" OR ".join(f'"{word}"' for word in words), limit)).fetchall()
    return [Passage(id=id_, document=document, year=year, text=text) for id_, document, year, text in found]


def passages() -> Iterator[Passage]:
    for path in sorted(LIBRARY.glob("*.md")):
        heading, *paragraphs = path.read_text("utf-8", errors="replace").strip().split("\n\n")
        title = TITLE.fullmatch(heading.strip())
        if title is None:
            raise ValueError(f"{path.name} must begin with `# Title (year)`, not with {heading[:60]!r}")
        for number, text in enumerate(paragraphs, 1):
            yield Passage(
                id=f"{path.stem}#{number}",
                document=title["title"],
                year=int(title["year"]),
                text=text.strip(),
            )
