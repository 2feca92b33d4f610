"""A worker runs on whatever exits in it, and ends when it is asked to."""

import asyncio
import sys
from pathlib import Path

from segue.streams.client.client import Client
from segue.streams.kafka.provisioning import provision
from segue.streams.settings import Settings
from tests.kafka.conftest import worker_environment

ROOT = Path(__file__).parents[2]
PATIENCE_S = 120.0


async def test_what_exits_fails_and_the_worker_goes_on_until_it_is_asked_to_stop(settings: Settings) -> None:
    await provision(settings)
    command = (sys.executable, "-m", "segue.streams.cli", "worker", "tests/kafka/exits")
    worker = await asyncio.create_subprocess_exec(*command, env=worker_environment(settings), cwd=ROOT)
    try:
        async with Client(settings) as client:
            results = [
                await client.result(await client.start(name), PATIENCE_S) for name in ("interrupts", "meets")
            ]
        assert worker.returncode is None
    finally:
        worker.terminate()
        code = await worker.wait()
    interrupted, met = results
    assert interrupted.problem is not None
    assert (interrupted.outcome, interrupted.problem.message) == (
        "failed",
        "KeyboardInterrupt: by the workflow itself",
    )
    assert met.result == {
        "exits": "SystemExit: 3",
        "exits_in_a_thread": "RuntimeError: the function raised GeneratorExit: in a thread",
        "closes": "GeneratorExit: by the tool itself",
        "exits_locally": "KeyboardInterrupt: by a local tool",
        "exits_in_a_task": "SystemExit: in a task of its own",
    }
    assert code == 0
