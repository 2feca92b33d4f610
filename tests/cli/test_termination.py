"""SIGTERM ends a command that waits, also in the background of a shell, where SIGINT is ignored."""

import subprocess
import sys

import pytest

WAITS = """
import asyncio, signal
signal.signal(signal.SIGINT, signal.{disposition})
from segue.streams.cli import output
@output.asynchronous
async def wait():
    print("waits", flush=True)
    try:
        await asyncio.sleep(60)
    finally:
        print("cleaned up", flush=True)
wait()
"""


@pytest.mark.parametrize("disposition", ["default_int_handler", "SIG_IGN"])
def test_a_command_that_is_terminated_cleans_up_first(disposition: str) -> None:
    source = WAITS.format(disposition=disposition)
    with subprocess.Popen(
        [sys.executable, "-c", source], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as waits:
        assert waits.stdout is not None
        assert waits.stdout.readline() == b"waits\n"
        waits.terminate()
        out, _ = waits.communicate(timeout=10)
    assert out == b"cleaned up\n"
