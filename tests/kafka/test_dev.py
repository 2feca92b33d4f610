"""`segue dev --exit-when-done` as a script sees it."""

import asyncio
import sys
from collections.abc import Awaitable
from pathlib import Path
from typing import Any

import httpx
import pytest

from segue.streams.client.client import Client
from segue.streams.kafka.provisioning import provision
from segue.streams.settings import Settings
from tests.kafka.conftest import free_port, worker_environment
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


SLEEPER = """
import asyncio
from segue import App, Task, workflow

@workflow
async def sleeps(task: Task, s: float) -> str:
    await asyncio.sleep(s)
    return "woke"

app = App("sleeper", workflows=[sleeps])
"""


ORDERS = """
from pathlib import Path
from typing import Any
from segue import App, Task, current_attempt, tool, workflow

@tool
async def pay() -> str:
    with (Path(__file__).parent / "payments").open("a") as payments:
        payments.write(current_attempt().idempotency_key + "\\n")
    return "paid"

@workflow
async def orders(task: Task, order: dict[str, Any]) -> list[str]:
    paid = await task.tool(pay)
    return [order["number"], paid]

app = App("orders", workflows=[orders], tools=[pay])
"""


def dev(settings: Settings, app: Path, *options: str) -> Awaitable[asyncio.subprocess.Process]:
    return asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "segue.streams.cli", "dev", str(app), *options),
        env=worker_environment(settings),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )


async def goes_on(settings: Settings, app: Path, request: str, task: str) -> tuple[str, Any]:
    """What `segue dev` says until its own task has ended, and the result of one that was left open.

    Without `--exit-when-done`: a worker that stops with its own task may well have not come to the other.
    """
    process = await dev(settings, app, request)
    assert process.stdout is not None
    said = ""
    async with asyncio.timeout(PATIENCE_S):
        while "the worker runs on" not in said:
            line = await process.stdout.readline()
            assert line, said
            said += line.decode()
        async with Client(settings) as client:
            result = (await client.result(task)).result
        process.terminate()
        await process.communicate()
    return said, result


async def test_what_was_killed_goes_on_and_is_named(settings: Settings, tmp_path: Path) -> None:
    (tmp_path / "sleeper.py").write_text(SLEEPER)
    settings = settings.model_copy(update={"session_timeout_ms": 15_000})
    first = await dev(settings, tmp_path / "sleeper.py", "2")
    assert first.stdout is not None
    async with asyncio.timeout(PATIENCE_S):
        task = (await first.stdout.readline()).decode().split()[-1]
        while b"timer" not in await first.stdout.readline():
            pass
        first.kill()
        await first.wait()
    said, result = await goes_on(settings, tmp_path / "sleeper.py", "0", task)
    assert f"task {task} goes on: " in said
    assert "keeps its partitions" not in said  # a static member gets them back at once
    assert result == "woke"


async def test_partitions_of_a_killed_worker_of_another_name_are_waited_for_and_that_is_said(
    settings: Settings, tmp_path: Path
) -> None:
    app = tmp_path / "sleeper.py"
    app.write_text(SLEEPER)
    settings = settings.model_copy(update={"session_timeout_ms": 15_000})
    await provision(settings)
    other = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "segue.streams.cli", "worker", str(app)),
        env=worker_environment(settings) | {"SEGUE_WORKER_ID": "other"},
    )
    async with asyncio.timeout(PATIENCE_S), Client(settings) as client:
        assert await client.run("sleeps", 0) == "woke"
        other.kill()
        await other.wait()
        process = await dev(settings, app, "0", "--exit-when-done")
        said = (await process.communicate())[0].decode()
    assert "no worker has started it yet: a worker that was killed here keeps its partitions for 15 s" in said
    assert process.returncode == 0


async def test_a_task_at_a_bug_goes_on_when_its_workflow_is_mended(
    settings: Settings, tmp_path: Path
) -> None:
    app = tmp_path / "orders.py"
    app.write_text(ORDERS)
    process = await dev(settings, app, '{"id": "o-1"}', "--exit-when-done")
    async with asyncio.timeout(PATIENCE_S):
        said = (await process.communicate())[0].decode()
        assert process.returncode == 1
        task = said.split("task ", 1)[1].split()[0]
        assert "KeyError: 'number': fix the workflow and deploy it, and the task continues from here" in said
        assert 'return [order["number"], paid]' in said
    app.write_text(ORDERS.replace("number", "id"))
    said, result = await goes_on(settings, app, '{"id": "o-2"}', task)
    assert f"task {task} goes on: " in said
    assert result == ["o-1", "paid"]
    payments = (tmp_path / "payments").read_text().splitlines()
    assert (payments[0], len(payments)) == (f"{task}/0", 2), "one of each task"


@pytest.mark.parametrize(
    ("given", "code", "told"), [("8", 0, "\n  4\n"), ("7", 1, 'raise ValueError(f"{n} is odd")')]
)
async def test_the_exit_code_says_whether_the_task_succeeded(
    settings: Settings, tmp_path: Path, given: str, code: int, told: str
) -> None:
    (tmp_path / "app.py").write_text(APP)
    halves = await dev(settings, tmp_path, given, "--exit-when-done")
    async with asyncio.timeout(PATIENCE_S):
        said, errors = await halves.communicate()
    assert (halves.returncode, errors) == (code, b"")
    assert told in said.decode()


async def test_the_page_is_served_meanwhile_and_where_its_port_is_taken_it_goes_on_without(
    settings: Settings, tmp_path: Path
) -> None:
    (tmp_path / "app.py").write_text(APP)
    settings = settings.model_copy(update={"ui_port": free_port()})
    first = await dev(settings, tmp_path, "8")
    [place] = await said(first, "the tasks are at ")
    await said(first, "the worker runs on")
    async with httpx.AsyncClient(base_url=place, trust_env=False) as browser:
        assert "halve" in (await browser.get("/")).text
    other = settings.model_copy(
        update={"topic_prefix": f"{settings.topic_prefix}other.", "state_dir": tmp_path / "other"}
    )
    second = await dev(other, tmp_path, "8")
    [why] = await said(second, "the web page is not served: ")
    await said(second, "the worker runs on")
    assert why.startswith(f"can't listen at 127.0.0.1:{settings.ui_port}: Address already in use; ")
    for each in (first, second):
        each.terminate()
        _, errors = await each.communicate()
        assert (errors, each.returncode) == (b"", 0)


async def said(process: asyncio.subprocess.Process, beginning: str) -> list[str]:
    """What follows that beginning of a line, as soon as there is one."""
    assert process.stdout is not None
    async with asyncio.timeout(PATIENCE_S):
        async for line in process.stdout:
            if line.decode().startswith(beginning):
                return [line.decode().removeprefix(beginning).strip()]
    return []
