"""README's first example, followed to the letter: it is killed in the middle, and resumes."""

import asyncio
import os
import signal
import sys
from collections.abc import AsyncGenerator, Generator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

import pytest

from segue.streams.client.client import Client
from segue.streams.settings import Settings
from segue.topics.records import Status
from tests.kafka.conftest import worker_environment
from tests.kafka.running import PATIENCE_S
from tests.readme import block_after


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A newcomer's folder with `hello.py`, as README has it."""
    (tmp_path / "hello.py").write_text(block_after("`hello.py`"))
    return tmp_path


class Dev:
    """`segue dev hello.py` in a process group of its own, and all that it has said."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process
        self.lines: list[str] = []

    async def until(self, words: str) -> None:
        """Returns once a line holds these words."""
        assert self._process.stdout is not None
        async with asyncio.timeout(PATIENCE_S):
            async for line in self._process.stdout:
                self.lines.append(line.decode().rstrip())
                if words in self.lines[-1]:
                    return
        raise AssertionError(f"{words!r} was not said: {self.lines}")

    async def send(self, number: signal.Signals) -> int:
        """Return the exit code."""
        os.killpg(self._process.pid, number)
        async with asyncio.timeout(PATIENCE_S):
            rest, _ = await self._process.communicate()
        self.lines += rest.decode().splitlines()
        assert self._process.returncode is not None
        return self._process.returncode


@contextmanager
def handled_interrupt() -> Generator[None]:
    """Let processes that start here handle SIGINT, which the background jobs of a shell ignore."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


@asynccontextmanager
async def dev(settings: Settings, folder: Path, *given: str) -> AsyncGenerator[Dev]:
    with handled_interrupt():
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "segue.streams.cli", "dev", "hello.py", *given),
            cwd=folder,
            env=worker_environment(settings),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        yield Dev(process)
    finally:
        if process.returncode is None:
            os.killpg(process.pid, signal.SIGKILL)
            await process.communicate()


async def statuses(settings: Settings) -> list[Status]:
    async with Client(settings) as client:
        return await client.statuses()


async def test_hello_is_killed_in_step_2_and_resumes_there(settings: Settings, folder: Path) -> None:
    async with dev(settings, folder) as first:
        await first.until("goodbye, Ada")
        assert await first.send(signal.SIGKILL) == -signal.SIGKILL
    async with dev(settings, folder) as second:
        await second.until("the worker runs on")
        assert await second.send(signal.SIGINT) == 130
    [told] = [line for line in second.lines if "resumed at" in line]
    [task] = await statuses(settings)
    assert told == f"task {task.task} resumed at step 2: tool say"
    assert task.state == "succeeded"
    says = ("hello, Ada", "how are you, Ada", "goodbye, Ada")
    ran = [[line for line in run.lines if line in says] for run in (first, second)]
    assert ran == [list(says), ["goodbye, Ada"]]


async def test_a_run_that_ended_is_followed_by_a_new_one(settings: Settings, folder: Path) -> None:
    for _ in range(2):
        async with dev(settings, folder) as run:
            await run.until("the worker runs on")
            assert await run.send(signal.SIGINT) == 130
            assert not [line for line in run.lines if "resumed at" in line or "goes on" in line]
    assert [each.state for each in await statuses(settings)] == ["succeeded"] * 2


async def test_an_input_starts_another_task_beside_the_one_that_was_interrupted(
    settings: Settings, folder: Path
) -> None:
    async with dev(settings, folder) as first:
        await first.until("how are you, Ada")
        assert await first.send(signal.SIGINT) == 130
    async with dev(settings, folder, "Bob") as second:
        await second.until("the worker runs on")
    assert [line for line in second.lines if line.endswith(", Bob")][:1] == ["hello, Bob"]
    assert [line for line in second.lines if " goes on: " in line]
