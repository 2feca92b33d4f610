"""The network between workers and Kafka, as a TCP proxy: it can be cut, slowed and silenced."""

import asyncio
import contextlib
from random import Random

CHUNK_BYTES = 256 * 1024


class Proxy:
    """Listens on `port` and connects to `target`, both on loopback."""

    def __init__(self, port: int, target: int) -> None:
        self._port = port
        self._target = target
        self._server: asyncio.Server | None = None
        self._writers: dict[asyncio.StreamWriter, asyncio.StreamWriter] = {}
        self._flowing = asyncio.Event()
        self._flowing.set()
        self.latency_s = 0.0
        """Added to every chunk in either direction."""

    async def start(self) -> None:
        self._server = await asyncio.start_server(self._connected, "127.0.0.1", self._port)

    async def stop(self) -> None:
        assert self._server is not None
        self._server.close()
        self.heal()
        self.cut(Random(0), share=1.0)

    def cut(self, random: Random, share: float) -> None:
        """Break so many of the connections, both ends."""
        for client, broker in list(self._writers.items()):
            if random.random() < share:
                client.transport.abort()
                broker.transport.abort()

    def silence(self) -> None:
        """Nothing passes any more, and nobody is told."""
        self._flowing.clear()

    def heal(self) -> None:
        self.latency_s = 0.0
        self._flowing.set()

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            from_broker, to_broker = await asyncio.open_connection("127.0.0.1", self._target)
        except OSError:
            writer.transport.abort()
            return
        self._writers[writer] = to_broker
        try:
            await asyncio.gather(self._pump(reader, to_broker), self._pump(from_broker, writer))
        finally:
            del self._writers[writer]

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while chunk := await reader.read(CHUNK_BYTES):
                await self._flowing.wait()
                if self.latency_s:
                    await asyncio.sleep(self.latency_s)
                writer.write(chunk)
                await writer.drain()
        writer.close()
