"""The bytes of a blob, from wherever they come, in pieces that are never all in memory."""

import asyncio
from collections.abc import AsyncIterable, AsyncIterator, Iterable, Iterator
from typing import Any

from segue.processors.payloads.blob import Readable, Source
from segue.topics.errors import BadInput

CHUNK_BYTES = 1024 * 1024


async def pieces_of(source: Source) -> AsyncIterator[bytes]:
    """At most `CHUNK_BYTES` each. What may block is read in a thread."""
    if isinstance(source, AsyncIterable):
        async for piece in source:
            for part in _parts(piece):
                yield part
        return
    pieces = _blocking(source)
    while part := await asyncio.to_thread(next, pieces, b""):
        yield part


def _blocking(source: bytes | Readable | Iterable[bytes]) -> Iterator[bytes]:
    if isinstance(source, bytes):
        yield from _parts(source)
    elif isinstance(source, Readable):
        while chunk := source.read(CHUNK_BYTES):
            yield from _parts(chunk)
    else:
        for piece in source:
            yield from _parts(piece)


def _parts(piece: Any) -> Iterator[bytes]:
    """User code may give anything."""
    if not isinstance(piece, bytes):
        raise BadInput(
            f"a Blob is made of bytes, not of {type(piece).__name__}: encode text, or use Blob.dump"
        )
    if 0 < len(piece) <= CHUNK_BYTES:
        yield piece
        return
    for at in range(0, len(piece), CHUNK_BYTES):
        yield piece[at : at + CHUNK_BYTES]
