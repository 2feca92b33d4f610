"""Ends stdio MCP servers with their worker, and reads what they write at a cost linear in its size.

The SDK starts each server as the leader of a process group, and ends it when its session ends. A worker that
is killed ends no session, and a server that hangs does not notice. So a process of its own, `reaper`, hears
of each group, and ends those that are left when the worker is gone. This works on Linux and macOS alike; a
signal at the parent's death is Linux's alone, and reaches no grandchildren.

It holds for every server that the SDK starts in the process, those of agents' toolsets included.
"""

import asyncio
import logging
import subprocess
import sys
from pathlib import Path
from typing import Any

import anyio
from anyio.abc import ByteReceiveStream
from mcp.client import stdio

log = logging.getLogger(__name__)

PROGRAM = Path(__file__).with_name("reaper.py")


LINE_BYTES_MAX = 256 * 1024 * 1024
"""A message is a line. One that is longer is taken to have no end, and ends the session."""


class WholeLines(ByteReceiveStream):
    """A server's standard output, handed on once a line ends in it.

    The SDK adds each piece to what it has of a line so far, and looks through all of that: for a message of
    30 MB that is 7 GB.
    """

    def __init__(self, pieces: ByteReceiveStream, server: int) -> None:
        self._pieces = pieces
        self._server = server

    async def receive(self, max_bytes: int = 65_536) -> bytes:
        begun: list[bytes] = []
        size = 0
        while True:
            try:
                piece = await self._pieces.receive(max_bytes)
            except anyio.EndOfStream:
                if not begun:
                    raise
                return b"".join(begun)
            begun.append(piece)
            if b"\n" in piece:
                return b"".join(begun)
            if (size := size + len(piece)) > LINE_BYTES_MAX:
                log.error("MCP server process %d wrote %d bytes without an end of line", self._server, size)
                raise anyio.BrokenResourceError

    async def aclose(self) -> None:
        await self._pieces.aclose()


class Reaper:
    """Hears of the process groups of this process. It is started with the first of them."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[bytes] | None = None
        self._groups: set[int] = set()

    def add(self, group: int) -> None:
        self._groups.add(group)
        self._tell(b"+%d\n" % group)

    def remove(self, group: int) -> None:
        self._groups.discard(group)
        self._tell(b"-%d\n" % group)

    def _tell(self, line: bytes) -> None:
        """A reaper that somebody ended is started again, and told of all groups."""
        if self._process is None or self._process.poll() is not None:
            self._process = _started()
            line = b"".join(b"+%d\n" % group for group in self._groups)
        assert self._process.stdin is not None
        self._process.stdin.write(line)
        self._process.stdin.flush()


def _started() -> "subprocess.Popen[bytes]":
    return subprocess.Popen(
        [sys.executable, "-I", "-S", str(PROGRAM)],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,  # a terminal's Ctrl-C is not meant for it
    )


REAPER = Reaper()

_watching: set["asyncio.Task[None]"] = set()
"""Held here, for the event loop holds tasks only weakly."""

_start: Any = stdio._create_platform_compatible_process  # pyright: ignore[reportPrivateUsage]


async def _start_watched(*args: Any, **options: Any) -> Any:
    process = await _start(*args, **options)
    REAPER.add(process.pid)
    process._stdout = WholeLines(process.stdout, process.pid)
    watching = asyncio.create_task(_forget_once_ended(process))
    _watching.add(watching)
    watching.add_done_callback(_watching.discard)
    return process


async def _forget_once_ended(process: Any) -> None:
    await process.wait()
    REAPER.remove(process.pid)


def install() -> None:
    """Replace how the SDK starts a server. Called once, when a module that opens sessions is imported."""
    if sys.platform != "win32":
        stdio._create_platform_compatible_process = _start_watched  # pyright: ignore[reportPrivateUsage]
