"""A Kafka of the harness's own, that it may kill: the same node as Segue's local broker, with two doors.

The harness itself goes in directly, so that its view is never disturbed; workers are told of the proxy's
address alone.
"""

import asyncio
import socket
import subprocess
from pathlib import Path

from segue.streams.local.broker import ensure_broker
from segue.streams.local.jars import classpath
from segue.streams.local.kraft import Node
from segue.streams.settings import Settings
from segue.topics.errors import Unavailable

UNCOMPACTED = "\nlog.cleaner.min.compaction.lag.ms=86400000\n"
"""A changelog that is not compacted tells what it said at each offset: see `stores`."""

START_S_MAX = 60.0
POLL_S = 0.1


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Broker:
    def __init__(self, folder: Path) -> None:
        self._node = Node(folder)
        self.port = free_port()
        """The harness's door."""
        self.behind_port = free_port()
        """The workers' door, to which the proxy connects."""
        self.proxy_port = free_port()
        """What workers are told."""
        self._process: subprocess.Popen[bytes] | None = None

    async def start(self) -> None:
        """Returns when it answers; the data of an earlier start is kept."""
        jars = await asyncio.to_thread(classpath, Settings().cache_dir, print)
        await asyncio.to_thread(self._launch, jars)
        async with asyncio.timeout(START_S_MAX):
            while not await self._answers():  # noqa: ASYNC110 - nobody tells when it does
                await asyncio.sleep(POLL_S)

    async def kill(self) -> None:
        """SIGKILL."""
        if self._process is not None:
            self._process.kill()
            await asyncio.to_thread(self._process.wait)

    def _launch(self, jars: list[Path]) -> None:
        self._node.configure(self.port, free_port())
        text = self._node.properties.read_text()
        for line, added in (
            (f"listeners=PLAINTEXT://127.0.0.1:{self.port}", f",WORKERS://127.0.0.1:{self.behind_port}"),
            (
                f"advertised.listeners=PLAINTEXT://127.0.0.1:{self.port}",
                f",WORKERS://127.0.0.1:{self.proxy_port}",
            ),
            ("listener.security.protocol.map=PLAINTEXT:PLAINTEXT", ",WORKERS:PLAINTEXT"),
        ):
            text = text.replace(f"\n{line}", f"\n{line}{added}")
        self._node.properties.write_text(text + UNCOMPACTED)
        self._node.format(jars)
        if self._process is not None and not self._node.ended_cleanly:
            self._node.log.rename(self._node.log.with_suffix(f".{self._process.pid}.log"))
            self._node.fence(jars, free_port())
        with self._node.console.open("ab") as console:
            self._process = subprocess.Popen(
                self._node.command(jars), stdout=console, stderr=subprocess.STDOUT, start_new_session=True
            )

    async def _answers(self) -> bool:
        try:
            await ensure_broker(Settings(kafka=f"127.0.0.1:{self.port}"))
        except Unavailable:
            return False
        return True
