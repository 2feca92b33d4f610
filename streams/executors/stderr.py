"""What a stdio server writes to its standard error: into the log, and its last lines into error messages.

A server that can't start says why there, and nowhere else.
"""

import asyncio
import logging
import os
from collections import deque
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import TextIO

from streams.problems import redact

LINES_KEPT = 5
LINE_CHARS_MAX = 300
CHUNK_BYTES = 8192


class LastWords:
    def __init__(self) -> None:
        self._lines: deque[str] = deque(maxlen=LINES_KEPT)

    def add(self, line: str) -> None:
        if line.strip():
            self._lines.append(redact(line.rstrip())[:LINE_CHARS_MAX])

    def quoted(self) -> str:
        """`; it last wrote: …`, or nothing."""
        return f"; it last wrote: {' | '.join(self._lines)}" if self._lines else ""


@asynccontextmanager
async def last_words(name: str, words: LastWords) -> AsyncGenerator[TextIO]:
    """A file to give to a process as its standard error."""
    read, write = os.pipe()
    incoming = asyncio.StreamReader()
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


async def _read(incoming: asyncio.StreamReader, name: str, words: LastWords) -> None:
    log = logging.getLogger(f"{__name__}.{name}")
    rest = ""
    while chunk := await incoming.read(CHUNK_BYTES):
        *lines, rest = (rest + chunk.decode(errors="replace")).split("\n")
        for line in lines:
            words.add(line)
            log.info("%s", line)
