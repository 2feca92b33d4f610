"""The servers that peers stand on. Each has its data in a folder of the same disk, and ends with its turn.

Kafka's broker alone runs all the time: a Java program that has just started is slow.
"""

import asyncio
import os
import shutil
import signal
import socket
import subprocess
import urllib.request
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import psutil

from benchmarks.peers.install import Missing, postgres_binaries, restate_server
from segue.streams.local import kraft
from segue.streams.local.broker import broker_status, ensure_broker, stop_broker
from segue.streams.settings import Settings

START_S_MAX = 60.0
STOP_S_MAX = 30.0
NOBODY = "nobody"
"""PostgreSQL refuses to run as root."""


@dataclass(frozen=True)
class Server:
    """`env` tells a program how to reach it."""

    process: psutil.Process
    version: str
    env: dict[str, str]


# ---------------------------------------------------------------- Kafka


@asynccontextmanager
async def kafka(folder: Path) -> AsyncGenerator[Server]:
    """The local broker, but with the whole of Java's compiler, as a cluster's brokers run."""
    kraft.JAVA_OPTIONS = tuple(option for option in kraft.JAVA_OPTIONS if option != kraft.QUICK_START)
    settings = Settings(kafka=None, state_dir=folder, local_broker_port=free_port())
    await ensure_broker(settings)
    try:
        yield await local_broker(settings)
    finally:
        await stop_broker(settings)


async def local_broker(settings: Settings) -> Server:
    """The local broker that runs with these settings."""
    status = await broker_status(settings)
    env = {"SEGUE_KAFKA": settings.bootstrap, "SEGUE_REPLICATION": "1"}
    return Server(psutil.Process(status.pid), f"Apache Kafka {status.version}", env)


# ---------------------------------------------------------------- PostgreSQL


@asynccontextmanager
async def postgres(folder: Path, fsync: str) -> AsyncGenerator[Server]:
    """PostgreSQL with memory and log for the load; all else, `synchronous_commit` among it, as it comes.

    Its programs are copied to where the user that runs it may read them, should that be another one.
    """
    binaries, data, port = _copied(postgres_binaries(), folder), folder / "data", free_port()
    data.mkdir()
    other = _somebody_else(folder, data)
    _init(binaries, data, other)
    options = {
        "port": port,
        "listen_addresses": "127.0.0.1",
        "unix_socket_directories": "",
        "max_connections": 200,
        "shared_buffers": "1GB",
        "max_wal_size": "4GB",
        "fsync": fsync,
    }
    command = [binaries / "postgres", "-D", data, *(f"--{key}={value}" for key, value in options.items())]
    async with _running(command, folder, **other) as process:
        await _until(process, partial(_listens, port), folder)
        version = _said(binaries / "postgres", "--version").split()[-1]
        url = f"postgresql://peers@127.0.0.1:{port}/postgres"
        yield Server(process, f"PostgreSQL {version}", {"PEERS_POSTGRES": url})


def _copied(binaries: Path, folder: Path) -> Path:
    """With the wheel's libraries, which they find beside their own package."""
    package = binaries.parents[1]
    for each in package.parent.glob(f"{package.name}*"):
        if each.name in {package.name, f"{package.name}.libs"}:
            shutil.copytree(each, folder / each.name)
    return folder / binaries.relative_to(package.parent)


def _somebody_else(folder: Path, data: Path) -> dict[str, Any]:
    """How to run a program of PostgreSQL: as another user, where we are root."""
    if os.geteuid() != 0:
        return {}
    try:
        shutil.chown(data, NOBODY)
    except (LookupError, OSError) as error:
        raise Missing(
            f"it runs not as root, and can't as {NOBODY}: {error}; start this as another user"
        ) from None
    for each in (folder, folder.parent):  # that of the turn, in that of the run
        each.chmod(0o755)
    return {"user": NOBODY, "extra_groups": []}


def _init(binaries: Path, data: Path, other: dict[str, Any]) -> None:
    options = ("-U", "peers", "-A", "trust", "-E", "UTF8", "--locale=C")
    ran = subprocess.run(  # noqa: PLW1510 - what it says is told
        [binaries / "initdb", "-D", data, *options], cwd=data, capture_output=True, text=True, **other
    )
    if ran.returncode:
        raise Missing(f"initdb failed: {ran.stderr.strip()}")


# ---------------------------------------------------------------- Restate


@asynccontextmanager
async def restate(folder: Path) -> AsyncGenerator[Server]:
    """One node, all as it comes: a replicated log of one replica, whose writes are synced to disk."""
    ingress, admin, node = free_port(), free_port(), free_port()
    env = {
        "RESTATE_BASE_DIR": str(folder / "restate"),
        "RESTATE_INGRESS__BIND_ADDRESS": f"127.0.0.1:{ingress}",
        "RESTATE_ADMIN__BIND_ADDRESS": f"127.0.0.1:{admin}",
        "RESTATE_BIND_ADDRESS": f"127.0.0.1:{node}",
        "RESTATE_LISTEN_MODE": "tcp",
        "RESTATE_DISABLE_TELEMETRY": "true",
        "RESTATE_LOG_FILTER": "warn",
    }
    binary = restate_server()
    async with _running([binary, "--no-logo"], folder, env=os.environ | env) as process:
        await _until(process, partial(_healthy, f"http://127.0.0.1:{admin}/health"), folder)
        urls = {
            "PEERS_RESTATE": f"http://127.0.0.1:{ingress}",
            "PEERS_RESTATE_ADMIN": f"http://127.0.0.1:{admin}",
        }
        yield Server(process, f"Restate {_said(binary, '--version').split()[1]}", urls)


# ---------------------------------------------------------------- processes


@asynccontextmanager
async def _running(command: list[Any], folder: Path, **options: Any) -> AsyncGenerator[psutil.Process]:
    with (folder / "log").open("wb") as log:
        process = psutil.Popen(
            command, cwd=folder, stdin=subprocess.DEVNULL, stdout=log, stderr=log, **options
        )
    try:
        yield process
    finally:
        process.send_signal(signal.SIGINT)  # to PostgreSQL: stop, and don't wait for clients
        try:
            await asyncio.to_thread(process.wait, STOP_S_MAX)
        except psutil.TimeoutExpired:
            process.kill()


async def _until(process: psutil.Process, answers: Any, folder: Path) -> None:
    for _ in range(int(START_S_MAX * 10)):
        if await asyncio.to_thread(answers):
            return
        if not process.is_running() or process.status() == psutil.STATUS_ZOMBIE:
            break
        await asyncio.sleep(0.1)
    last = (folder / "log").read_text(errors="replace").splitlines()[-3:]
    raise Missing(f"it did not start: {' / '.join(last)}")


def _said(*command: Any) -> str:
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def _healthy(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=1) as answer:  # noqa: S310 - our own address
            return bool(answer.status == 200)
    except OSError:
        return False


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
