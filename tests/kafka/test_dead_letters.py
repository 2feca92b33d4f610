"""`segue dead-letters redrive` as a script sees it: what can be mended is fed again, and nothing else."""

import asyncio
import json
import sys
from pathlib import Path
from typing import Any

from segue.streams.client.client import Client
from segue.streams.client.redrive import Copy, feed
from segue.streams.settings import Settings
from tests.kafka.conftest import worker_environment
from tests.kafka.running import PATIENCE_S

APP = """
from segue import App, Task, tool, workflow

@tool(retries=0)
async def divide(n: int) -> int:
    return n // 0

@workflow
async def halve(task: Task, n: int) -> int:
    return await task.tool(divide, n)

app = App("halves", workflows=[halve], tools=[divide])
"""


async def test_a_step_that_failed_for_good_is_left_and_a_rejected_task_is_fed_again(
    settings: Settings, tmp_path: Path
) -> None:
    (tmp_path / "app.py").write_text(APP)
    async with asyncio.timeout(PATIENCE_S):
        await segue(settings, "dev", str(tmp_path), "8", "--exit-when-done")
        async with Client(settings) as client:
            await client.start("third", 9, id="rejected")
        await segue(settings, "dev", str(tmp_path), "8", "--exit-when-done")
        assert json.loads(await segue(settings, "dead-letters", "redrive", "--all", "-o", "json")) == {
            "records": 1,
            "left": 2,
        }
        for left in (3, 4):  # it fails again each time, and so does the task of a worker
            await segue(settings, "dev", str(tmp_path), "8", "--exit-when-done")
            assert json.loads(await segue(settings, "dead-letters", "redrive", "--all", "-o", "json")) == {
                "records": 1,
                "left": left,
            }
        told = json.loads(await segue(settings, "dead-letters", "-o", "json"))
    assert sorted(letter["reason"].partition(":")[0] for letter in told) == [*["divide"] * 4, REJECTED]


async def test_a_call_of_a_task_that_has_ended_is_left(settings: Settings, tmp_path: Path) -> None:
    (tmp_path / "app.py").write_text(APP)
    async with asyncio.timeout(PATIENCE_S):
        await segue(settings, "dev", str(tmp_path), "8", "--exit-when-done")
        async with Client(settings) as client:
            [status] = await client.statuses()
        for task in (status.task, "not known"):
            of_a_newer_worker = {"v": 99, "kind": "call_tool", "task": task, "step": 0, "fingerprint": "x"}
            body = json.dumps(of_a_newer_worker).encode()
            await feed(settings, [Copy("tool-calls", None, task.encode(), body, ())])
        await segue(settings, "dev", str(tmp_path), "8", "--exit-when-done")
        while len(json.loads(await segue(settings, "dead-letters", "-o", "json"))) < 4:
            await segue(settings, "dev", str(tmp_path), "8", "--exit-when-done")
        [letter] = [
            each["letter"]
            for each in json.loads(await segue(settings, "dead-letters", "-o", "json"))
            if (each["topic"], each["task"]) == ("tool-calls", status.task)
        ]
        sent = json.loads(await segue(settings, "dead-letters", "redrive", letter, "-o", "json"))
        assert sent == {"records": 0, "left": 1}
        sent = json.loads(await segue(settings, "dead-letters", "redrive", "--all", "-o", "json"))
        assert sent["records"] == 1, "that of which nobody knows that its task has ended"


REJECTED = "this app has no workflow 'third'; it has"


async def segue(settings: Settings, *command: str) -> Any:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "segue.streams.cli", *command),
        env=worker_environment(settings),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
    )
    said, _ = await process.communicate()
    return said
