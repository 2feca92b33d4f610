"""`segue dev --once` as a script sees it."""

import asyncio
import sys
from pathlib import Path

import pytest

from streams.settings import Settings
from tests.kafka.conftest import worker_environment
from tests.kafka.running import PATIENCE_S

APP = """
from segue import App, Task, workflow

@workflow
async def halve(task: Task, n: int) -> int:
    if n % 2:
        raise ValueError(f"{n} is odd")
    return n // 2

app = App("halves", workflows=[halve])
"""


@pytest.mark.parametrize(
    ("given", "code", "told"), [("8", 0, "\n  4\n"), ("7", 1, 'raise ValueError(f"{n} is odd")')]
)
async def test_the_exit_code_says_whether_the_task_succeeded(
    settings: Settings, tmp_path: Path, given: str, code: int, told: str
) -> None:
    (tmp_path / "app.py").write_text(APP)
    dev = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "streams.cli", "dev", str(tmp_path), given, "--once"),
        env=worker_environment(settings),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    async with asyncio.timeout(PATIENCE_S):
        said, errors = await dev.communicate()
    assert (dev.returncode, errors) == (code, b"")
    assert told in said.decode()
