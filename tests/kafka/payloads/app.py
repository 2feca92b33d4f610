"""Films of any size, told apart by their hashes, and a secret that goes wherever a task leaves records."""

import asyncio
import hashlib
import os
import resource
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

from segue import App, Blob, Permanent, Task, tool, workflow

MB = 1024 * 1024
PAUSED_AT_MB = 50


def piece(number: int) -> bytes:
    return hashlib.sha256(b"%d" % number).digest() * (MB // 32)


async def frames(size_mb: int) -> AsyncIterator[bytes]:
    """Waits in the middle until a file is there, which says that it may go on."""
    for number in range(size_mb):
        if number == PAUSED_AT_MB:
            (Path(os.environ["FILM"]) / f"begun-{os.getpid()}").touch()
            while not (Path(os.environ["FILM"]) / "go").exists():  # noqa: ASYNC110 - told by another process
                await asyncio.sleep(0.05)
        yield piece(number)


@tool
async def peak_mb() -> int:
    """What this process had in memory at most, so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024


@tool
async def film(size_mb: int) -> Blob:
    return await Blob.write(frames(size_mb), "video/x-noise")


@tool
async def watch(film: Blob) -> str:
    seen = hashlib.sha256()
    async for chunk in film.chunks():
        seen.update(chunk)
    return seen.hexdigest()


@workflow
async def filming(task: Task, size_mb: int) -> tuple[Blob, str, int]:
    made = await task.tool(film, size_mb)
    before = await task.tool(peak_mb)
    seen = await task.tool(watch, made)
    return made, seen, await task.tool(peak_mb) - before


@tool
async def novel(size_mb: int) -> str:
    return "x" * (size_mb * MB)


@tool
async def length(text: str) -> int:
    return len(text)


@workflow
async def publishing(task: Task, size_mb: int) -> str:
    """It never has the text: only the tools do."""
    text = await task.tool(novel, size_mb)
    assert await task.tool(length, text) == size_mb * MB
    return text


@workflow
async def measuring(task: Task, text: str) -> int:
    return await task.tool(length, text)


@tool
async def whisper(secret: str) -> str:
    return f"{secret}, whispered"


@tool(retries=1, backoff_s=0.01)
async def shout(secret: str) -> str:
    raise Permanent(f"{secret} is not to be shouted")


@tool
async def engrave(secret: str) -> Blob:
    return await Blob.write(secret.encode() * 100)


@workflow
async def keeping(task: Task, secret: str) -> str:
    await task.tool(whisper, secret)
    await task.gather(task.tool(shout, secret), failures="return")
    await task.tool(engrave, secret)
    await task.sleep(0.1)
    told = await task.ask("friend", f"do you know {secret}?", timeout=timedelta(minutes=5))
    await task.signal("go on")
    return f"{secret} and {told}"


app = App(
    "payloads",
    workflows=[filming, publishing, measuring, keeping],
    tools=[film, watch, peak_mb, novel, length, whisper, shout, engrave],
)
