"""The services that an app declares: beside it, and not longer than it."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from segue.processors.app.app import Service
from segue.streams.local.services import Services
from segue.topics.errors import Unavailable

SLEEP = ("python", "-c", "import os, time; print(os.getpid(), flush=True); time.sleep(60)")

DEVELOPER = """
import asyncio, sys
from pathlib import Path
from segue.processors.app.app import Service
from segue.streams.local.services import Services

async def main():
    await Services([Service("sleeper", %r)], Path(sys.argv[1])).start()
    print("started", flush=True)
    await asyncio.sleep(60)

asyncio.run(main())
"""


def pid_in(log: Path) -> int:
    for _ in range(500):
        if log.exists() and (written := log.read_text()):
            return int(written)
        time.sleep(0.02)
    raise AssertionError(f"nothing was written to {log}")


def is_gone(pid: int) -> bool:
    """A zombie whose parent has not looked yet is gone as well."""
    for _ in range(250):
        try:
            if Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z":
                return True
        except FileNotFoundError:
            return True
        time.sleep(0.02)
    return False


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux signals the death of a parent")
def test_services_end_when_who_started_them_is_killed(tmp_path: Path) -> None:
    developer = subprocess.Popen(
        [sys.executable, "-c", DEVELOPER % (SLEEP,), str(tmp_path)], stdout=subprocess.PIPE, text=True
    )
    assert developer.stdout is not None
    assert developer.stdout.readline() == "started\n"
    service = pid_in(tmp_path / "sleeper.log")
    os.kill(developer.pid, signal.SIGKILL)
    developer.communicate()
    assert is_gone(service)


async def test_services_end_when_they_are_stopped(tmp_path: Path) -> None:
    services = Services([Service("sleeper", SLEEP)], tmp_path)
    await services.start()
    service = pid_in(tmp_path / "sleeper.log")
    await services.stop()
    with pytest.raises(ProcessLookupError):
        os.kill(service, 0)


async def test_a_command_that_is_not_there_is_named(tmp_path: Path) -> None:
    services = Services([Service("sleeper", ("no-such-program",))], tmp_path)
    with pytest.raises(Unavailable, match=r"service 'sleeper' can't be started: .*no-such-program"):
        await services.start()
