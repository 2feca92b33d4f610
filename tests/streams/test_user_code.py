"""What user code raises through the event loop of a worker."""

import asyncio
import signal
import subprocess
import sys
from collections.abc import Awaitable

import pytest

from segue.streams.process.user_code import WorkerLoop


def run(main: Awaitable[object]) -> object:
    async def wait() -> object:
        return await main

    with asyncio.Runner(loop_factory=WorkerLoop) as runner:
        return runner.run(wait())


async def leave(kind: type[BaseException]) -> None:
    raise kind("boom")


@pytest.mark.parametrize("kind", [SystemExit, KeyboardInterrupt])
def test_a_task_that_exits_ends_itself_alone(kind: type[BaseException]) -> None:
    async def worker() -> str:
        beside = asyncio.create_task(asyncio.sleep(0.05, "beside"))
        with pytest.raises(kind):
            await asyncio.create_task(leave(kind))
        with pytest.raises(kind):
            await asyncio.gather(leave(kind), asyncio.sleep(0.01))
        forgotten = asyncio.create_task(leave(kind))
        told = await beside
        assert isinstance(forgotten.exception(), kind)
        return told

    assert run(worker()) == "beside"


@pytest.mark.parametrize("kind", [SystemExit, KeyboardInterrupt])
def test_a_command_that_exits_ends(kind: type[BaseException]) -> None:
    with pytest.raises(kind):
        run(leave(kind))


INTERRUPTED = """
import asyncio
import signal
from segue.streams.process.user_code import WorkerLoop

async def main():
    print("ready", flush=True)
    await asyncio.sleep(60)

signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background jobs ignore it
with asyncio.Runner(loop_factory=WorkerLoop) as runner:
    runner.run(main())
"""


def test_a_real_ctrl_c_ends_it() -> None:
    process = subprocess.Popen(
        [sys.executable, "-c", INTERRUPTED], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    assert process.stdout is not None
    assert process.stdout.readline() == b"ready\n"
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=30)
    assert process.returncode != 0
    assert b"KeyboardInterrupt" in said
