"""The folder of documents, searched by SQLite's FTS5: words by their stems, ranked by BM25.

The index is built for each search, in memory: it is never older than the files, and for as many as a person
keeps in a folder that takes milliseconds.
"""

import re
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

from .addresses import FOLDER
from .models import Passage

KINDS = (".md", ".txt")
BYTES_MAX = 1_000_000
"""What is larger was hardly written by hand."""

_WORDS = """
a an and are as at be by can do does for from has have he her his how i in is it its me my of on or our she
that the their them there they this to us was we what when where which who why will with you your about mean
means much new say says tell
"""
COMMON = frozenset(_WORDS.split())
"""Words that say nothing about what is looked for."""

INDEX = """
CREATE VIRTUAL TABLE passage
USING fts5(document UNINDEXED, title, heading, text, tokenize = 'porter unicode61')
"""
FIND = """
SELECT document, title, heading, text FROM passage WHERE passage MATCH ?
ORDER BY bm25(passage, 0, 1, 2, 2), rowid LIMIT ?
"""
"""A document's title stands over all of its passages, and so says less about each."""


def search(query: str, limit: int = 12, folder: Path = FOLDER) -> list[Passage]:
    """The passages that fit best, the best first."""
    words = sorted(set(re.findall(r"\w+", query.casefold())) - COMMON)
    if not words:
        return []
    with closing(sqlite3.connect(":memory:")) as database:
        database.execute(INDEX)
        rows = (tuple(passage.model_dump().values()) for passage in passages(folder))
        database.executemany("INSERT INTO passage VALUES (?, ?, ?, ?)", rows)
        found = database.execute(FIND, (" OR ".join(f'"{word}"' for word in words), limit)).fetchall()
    return [Passage(document=d, title=t, heading=h, text=x) for d, t, h, x in found]


def passages(folder: Path) -> Iterator[Passage]:
    """Every paragraph of every document. Raises `NotADirectoryError` where there is no such folder."""
    if not folder.is_dir():
        raise NotADirectoryError(f"{folder} is no folder: DOCUMENTS_FOLDER says where the documents are")
    for path in sorted(folder.rglob("*")):
        if path.suffix in KINDS and path.is_file() and path.stat().st_size <= BYTES_MAX:
            text = path.read_text("utf-8", errors="replace")
            yield from _split(path.relative_to(folder).as_posix(), text)


def _split(document: str, text: str) -> Iterator[Passage]:
    """The first line is the title, with or without its `#`."""
    title, _, rest = text.strip().partition("\n")
    title, heading = title.lstrip("# ").strip(), ""
    for block in re.split(r"\n\s*\n", rest.strip()):
        marked = re.match(r"#+ +(.+)\n?", block)
        heading = marked[1].strip() if marked else heading
        body = block[marked.end() :] if marked else block
        if body.strip():
            yield Passage(document=document, title=title, heading=heading, text=" ".join(body.split()))
