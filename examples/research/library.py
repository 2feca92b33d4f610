"""A folder of Markdown documents, searched by words: SQLite's full-text index, ranked by BM25.

A document begins with `# Title (year)`; its paragraphs are the passages. One without a title is called by its
file's name, and one without a year is of the year in which the file was last changed. The folder that ships
with the example is of a town that does not exist; `RESEARCH_LIBRARY` names another.
"""

import os
import re
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

from .models import Passage

LIBRARY = Path(os.environ.get("RESEARCH_LIBRARY", Path(__file__).parent / "data" / "library"))
TITLE = re.compile(r"#+ (?P<title>.+?)(?: \((?P<year>\d{4})\))?(?:\n|$)")
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
    if not LIBRARY.is_dir():
        raise NotADirectoryError(f"{LIBRARY} is no folder: RESEARCH_LIBRARY says where the documents are")
    for path in sorted(LIBRARY.glob("*.md")):
        yield from _passages_of(path)


def _passages_of(path: Path) -> Iterator[Passage]:
    text = path.read_text("utf-8", errors="replace").strip()
    heading = TITLE.match(text)
    title, year = heading.group("title", "year") if heading else (path.stem, None)
    changed = datetime.fromtimestamp(path.stat().st_mtime, UTC).year
    paragraphs = (text[heading.end() :] if heading else text).strip().split("\n\n")
    for number, paragraph in enumerate(filter(str.strip, paragraphs), 1):
        yield Passage(
            id=f"{path.stem}#{number}",
            document=title,
            year=int(year) if year else changed,
            text=paragraph.strip(),
        )
