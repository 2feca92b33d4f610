"""The wire between a worker and a service: what is asked for arrives, and the answer can be held back.

So a worker can be killed after the effect, before it can know: the moment that idempotency keys are for.
"""

import asyncio
import contextlib
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

CHUNK_BYTES = 64 * 1024


class Wire:
    """Of a service on `target`, for those who call `port`; both on loopback."""

    def __init__(self, target: int) -> None:
        self._target = target
        self._answering = asyncio.Event()
        self._answering.set()
        self.port = 0

    def hold(self) -> None:
        """No answer passes until `release`. One that nobody waits for any more is lost."""
        self._answering.clear()

    def release(self) -> None:
        self._answering.set()

    async def connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        answers, service = await asyncio.open_connection("127.0.0.1", self._target)
        try:
            await asyncio.gather(self._pump(reader, service), self._pump(answers, writer, self._answering))
        finally:
            service.close()
            writer.close()

    async def _pump(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, may: asyncio.Event | None = None
    ) -> None:
        with contextlib.suppress(OSError):
            while chunk := await reader.read(CHUNK_BYTES):
                if may is not None:
                    await may.wait()
                writer.write(chunk)
                await writer.drain()
        writer.close()


@asynccontextmanager
async def wire(target: int) -> AsyncGenerator[Wire]:
    to = Wire(target)
    server = await asyncio.start_server(to.connected, "127.0.0.1", 0)
    to.port = server.sockets[0].getsockname()[1]
    try:
        yield to
    finally:
        to.release()
        server.close()
