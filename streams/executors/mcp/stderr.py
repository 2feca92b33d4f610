"""Puts what a stdio server writes to its standard error into the log, and its last lines into error messages.

A server that can't start says why there, and nowhere else. However much it writes, it costs little: of a line
its beginning is kept, of many lines at once some are logged.
"""

import asyncio
import logging
import os
from collections import deque
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import TextIO

from segue.streams.text.redaction import redact

LINES_KEPT = 5
LINES_LOOKED_AT = 50
"""The last of a chunk, in which those are found that are not blank."""

LINE_CHARS_MAX = 300
CHUNK_BYTES = 65_536

TAIL_BYTES = 8_192
"""Of a chunk, what is looked at while no more lines are logged: the last lines are among that."""

LOGGED_LINE_BYTES_MAX = 8_192
"""The beginning of a line that is logged; what follows is left out."""

LOGGED_LINES_MAX = 100
"""Lines that are logged of a server in each `LOGGED_S`."""

LOGGED_S = 1.0


class StderrTail:
    def __init__(self) -> None:
        self._lines: deque[str] = deque(maxlen=LINES_KEPT)

    def add(self, line: str) -> None:
        self._lines.append(line.rstrip())

    def quoted(self) -> str:
        """`; it last wrote: …`, or nothing."""
        lines = [redact(line)[:LINE_CHARS_MAX] for line in self._lines]
        return f"; it last wrote: {' | '.join(lines)}" if lines else ""


class Lines:
    """Whole lines out of chunks, each cut to `LOGGED_LINE_BYTES_MAX`."""

    def __init__(self) -> None:
        self._begun = bytearray()

    def of(self, chunk: bytes) -> list[bytes]:
        """The lines that end in the chunk."""
        first, *others = chunk.split(b"\n")
        self._add(first)
        if not others:
            return []
        ended = [self.begun(), *others[:-1]]
        self._add(others[-1])
        return ended

    def begun(self) -> bytes:
        """The line that has not ended, which ends with that."""
        line = bytes(self._begun)
        self._begun.clear()
        return line

    def _add(self, part: bytes) -> None:
        self._begun += part[: LOGGED_LINE_BYTES_MAX - len(self._begun)]


class _Log:
    """The log of one server, in which a flood of lines leaves a few and their number."""

    def __init__(self, name: str) -> None:
        self._log = logging.getLogger(f"{__name__}.{name}")
        self._until_s = 0.0
        self._room = LOGGED_LINES_MAX
        self._left_out = 0

    def add(self, lines: list[bytes]) -> None:
        now_s = asyncio.get_running_loop().time()
        if now_s >= self._until_s:
            self.tell_left_out()
            self._until_s, self._room = now_s + LOGGED_S, LOGGED_LINES_MAX
        logged = lines[: self._room]
        for line in logged:
            self._log.info("%s", _text(line))
        self._room -= len(logged)
        self._left_out += len(lines) - len(logged)

    def is_full(self) -> bool:
        return self._room == 0 and asyncio.get_running_loop().time() < self._until_s

    def leave_out(self, lines: int) -> None:
        self._left_out += lines

    def tell_left_out(self) -> None:
        if self._left_out:
            self._log.info("… and %d lines more, which are left out", self._left_out)
        self._left_out = 0


@asynccontextmanager
async def last_words(name: str, words: StderrTail) -> AsyncGenerator[TextIO]:
    """A file to give to a process as its standard error."""
    read, write = os.pipe()
    incoming = asyncio.StreamReader(limit=CHUNK_BYTES)
    with os.fdopen(write, "w") as errors:
        transport, _ = await asyncio.get_running_loop().connect_read_pipe(
            lambda: asyncio.StreamReaderProtocol(incoming), os.fdopen(read, "rb")
        )
        reading = asyncio.create_task(_read(incoming, name, words))
        try:
            yield errors
        finally:
            transport.close()
            reading.cancel()


async def _read(incoming: asyncio.StreamReader, name: str, words: StderrTail) -> None:
    log, lines = _Log(name), Lines()
    while chunk := await incoming.read(CHUNK_BYTES):
        if log.is_full():
            passed_over, chunk = chunk[:-TAIL_BYTES], chunk[-TAIL_BYTES:]
            log.leave_out(passed_over.count(b"\n"))
        _tell(lines.of(chunk), log, words)
    _tell(list(filter(None, [lines.begun()])), log, words)
    log.tell_left_out()


def _tell(lines: list[bytes], log: _Log, words: StderrTail) -> None:
    log.add(lines)
    for line in lines[-LINES_LOOKED_AT:]:
        if line.strip():
            words.add(_text(line))


def _text(line: bytes) -> str:
    return line[:LOGGED_LINE_BYTES_MAX].decode(errors="replace").rstrip("\r")
