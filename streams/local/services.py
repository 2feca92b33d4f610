"""The processes that an app declares to run beside it while it is developed.

They start together. One is ready when its URL answers 200; one that declares none is ready once it runs. What
it prints goes to a file in the state folder. They are stopped by their own pids; on Linux the kernel stops
them where this process is killed and can't.
"""

import asyncio
import os
import shutil
import signal
import sys
from asyncio.subprocess import Process
from collections.abc import Iterable
from contextlib import suppress
from http import HTTPStatus
from pathlib import Path

import httpx

from segue.processors.app.app import Service
from segue.topics.errors import Unavailable

READY_S_MAX = 20.0
STOP_S_MAX = 5.0
POLL_S = 0.05
LAST_LINES = 5

TIED = """
import ctypes, os, signal, sys
ctypes.CDLL(None).prctl(1, signal.SIGTERM)
if os.getppid() != int(sys.argv[1]):
    sys.exit("who started this has ended")
os.execvp(sys.argv[2], sys.argv[2:])
"""
"""Becomes the given command, which gets SIGTERM when its parent dies (1 is PR_SET_PDEATHSIG; it outlasts
exec). In a process of its own: `preexec_fn` would run Python between fork and exec, beside other threads.
"""


class Services:
    """`stop` must be called whether `start` returned or raised: some may run."""

    def __init__(self, declared: Iterable[Service], folder: Path, pass_fds: tuple[int, ...] = ()) -> None:
        """`pass_fds`: open files that they inherit, each under its number here."""
        self._declared = tuple(declared)
        self._folder = folder
        self._pass_fds = pass_fds
        self._running: list[Process] = []

    async def start(self) -> None:
        """Returns when all are ready. Raises `Unavailable` with the last words of one that failed."""
        self._folder.mkdir(parents=True, exist_ok=True)
        async with httpx.AsyncClient(timeout=2.0, trust_env=False) as client:
            await asyncio.gather(*(self._start(service, client) for service in self._declared))

    async def stop(self) -> None:
        await asyncio.gather(*map(_stop, self._running))

    async def _start(self, service: Service, client: httpx.AsyncClient) -> None:
        if service.ready and await _answers(client, service.ready):
            raise Unavailable(
                f"service {service.name!r} can't start: another program answers at "
                f"{service.ready} already; stop that program"
            )
        log = self._folder / f"{service.name}.log"
        process = await _spawn(service, log, self._pass_fds)
        self._running.append(process)
        if not await _becomes_ready(process, service, client):
            ended = process.returncode is not None
            how = "has ended" if ended else f"is not ready after {READY_S_MAX:g} s"
            raise Unavailable(f"service {service.name!r} {how}; {log} ends with:\n{_last_words(log)}")


async def _spawn(service: Service, log: Path, pass_fds: tuple[int, ...]) -> Process:
    """In a session of its own: Ctrl-C at the terminal is for us, who then stop it in order."""
    with log.open("wb") as output:
        try:
            return await asyncio.create_subprocess_exec(
                *_tied_to_us(service),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                env=_environment(service),
                start_new_session=True,
                pass_fds=pass_fds,
            )
        except OSError as error:
            raise Unavailable(f"service {service.name!r} can't be started: {error}") from None


def _tied_to_us(service: Service) -> tuple[str, ...]:
    """Only Linux has it; elsewhere the port that stays taken is told at the next start."""
    if sys.platform != "linux" or shutil.which(service.command[0], path=_path()) is None:
        return service.command
    return (sys.executable, "-S", "-E", "-c", TIED, str(os.getpid()), *service.command)


def _path() -> str:
    """`python` means this one, also where its environment is not activated."""
    return os.pathsep.join((str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)))


def _environment(service: Service) -> dict[str, str]:
    return {**os.environ, "PATH": _path(), "PYTHONUNBUFFERED": "1", **service.env}


async def _becomes_ready(process: Process, service: Service, client: httpx.AsyncClient) -> bool:
    with suppress(TimeoutError):
        async with asyncio.timeout(READY_S_MAX):
            while process.returncode is None:
                if not service.ready or await _answers(client, service.ready):
                    return True
                await asyncio.sleep(POLL_S)
    return False


async def _answers(client: httpx.AsyncClient, url: str) -> bool:
    try:
        return (await client.get(url)).status_code == HTTPStatus.OK
    except httpx.HTTPError:
        return False


async def _stop(process: Process) -> None:
    """The whole process group: a service may have started others."""
    if process.returncode is not None:
        return
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGTERM)
    try:
        async with asyncio.timeout(STOP_S_MAX):
            await process.wait()
    except TimeoutError:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        await process.wait()


def _last_words(log: Path) -> str:
    return "\n".join(log.read_text(errors="replace").splitlines()[-LAST_LINES:]) or "nothing"
