"""The local broker: a real Apache Kafka that starts by itself and is shared by all who use a state folder.

    ensure_broker   starts it if it does not run, and returns when it answers
    stop_broker     ends it in good order
    broker_status   what runs, and what it takes

It outlives the command that started it, and keeps its data across runs. A lock in its folder makes commands
that start at once start one; a pid file says who it is. A pid is believed only of a process whose command
line names our own configuration, since the system gives numbers of dead processes to others.

With `SEGUE_KAFKA` set none of this happens: the cluster is somebody else's, and must only answer.
"""

import asyncio
import errno
import fcntl
import os
import shutil
import socket
import subprocess
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from time import monotonic, sleep
from typing import IO, NamedTuple, cast

import psutil

from segue.streams.kafka.provisioning import problem_of, reach
from segue.streams.local.jars import KAFKA_VERSION, classpath
from segue.streams.local.kraft import Node
from segue.streams.settings import Settings
from segue.topics.errors import Unavailable

START_S_MAX = 60.0
"""A cold start takes 2 to 4 s on two cores; recovery of a large log after a crash takes longer."""

STOP_S_MAX = 30.0
POLL_S = 0.03

RELEASE_S_MAX = 1.0
"""A broker that was killed is gone from the list of processes a moment before its port is free."""

MEMORY_BYTES_MIN = 450 * 1024 * 1024
DISK_BYTES_MIN = 500 * 1024 * 1024

Say = Callable[[str], None]


class BrokerStatus(NamedTuple):
    """`pid` and what follows are those of the local broker; `pid` is None where it does not run."""

    bootstrap: str
    answers: bool
    local: bool
    version: str | None = None
    pid: int | None = None
    memory_bytes: int = 0
    disk_bytes: int = 0
    folder: Path | None = None


class LocalBroker(NamedTuple):
    """The process that serves a state folder."""

    process: psutil.Process
    port: int


def _silent(_: str) -> None:
    pass


async def ensure_broker(settings: Settings, say: Say = _silent) -> None:
    """Returns when Kafka answers. `say` is told, in a line for people, what takes long.

    Raises `Unavailable`, which says what to do.
    """
    if settings.kafka is not None:
        await reach(settings)
        return
    node = _node(settings)
    async with _locked(node.root):
        running = _running(node)
        if running is not None:
            _assert_same_port(running, settings)
            if await _ended_before_it_answered(node, running, settings) is None:
                return
        jars = await asyncio.to_thread(classpath, settings.cache_dir, say)
        say(f"starting Apache Kafka {KAFKA_VERSION} on {settings.bootstrap}")
        started = await asyncio.to_thread(_start, node, settings.local_broker_port, jars)
        code = await _ended_before_it_answered(node, started, settings)
        if code is not None:
            raise Unavailable(await asyncio.to_thread(_post_mortem, node, code))


async def stop_broker(settings: Settings) -> bool:
    """Ends the local broker; False if none ran. Its data stays."""
    node = _node(settings)
    async with _locked(node.root):
        running = _running(node)
        if running is None:
            return False
        running.process.terminate()
        if await _ended(running.process, STOP_S_MAX) is None:
            running.process.kill()
            await _ended(running.process, STOP_S_MAX)
        _pid_file(node).unlink(missing_ok=True)
        return True


async def broker_status(settings: Settings) -> BrokerStatus:
    answers = await problem_of(settings) is None
    if settings.kafka is not None:
        return BrokerStatus(settings.bootstrap, answers, local=False)
    node = _node(settings)
    running = _running(node)
    return BrokerStatus(
        settings.bootstrap,
        answers and running is not None,
        local=True,
        version=KAFKA_VERSION,
        pid=running.process.pid if running else None,
        memory_bytes=running.process.memory_info().rss if running else 0,
        disk_bytes=await asyncio.to_thread(_disk_bytes, node.data),
        folder=node.root,
    )


def _node(settings: Settings) -> Node:
    return Node(settings.state_dir / "broker")


def _pid_file(node: Node) -> Path:
    return node.root / "broker.pid"


# ---------------------------------------------------------------- one broker for all


@asynccontextmanager
async def _locked(root: Path) -> AsyncGenerator[None]:
    """The folder's lock, polled: a thread that blocks in `flock` could not be cancelled by Ctrl-C."""
    with _lock_file(root) as file:
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                await asyncio.sleep(POLL_S)
        yield


def _lock_file(root: Path) -> IO[str]:
    try:
        root.mkdir(parents=True, exist_ok=True)
        return (root / "lock").open("w")
    except OSError as error:
        raise Unavailable(
            f"can't write to {root}: {error.strerror}; set SEGUE_STATE_DIR to a folder that you can write to"
        ) from None


def _running(node: Node) -> LocalBroker | None:
    """The process of the pid file, if it lives and is ours. A zombie has no command line, so it is not."""
    try:
        pid, port = _pid_file(node).read_text().split()
        process = psutil.Process(int(pid))
        ours = str(node.properties) in process.cmdline()
    except (FileNotFoundError, ValueError, psutil.Error):
        return None
    return LocalBroker(process, int(port)) if ours else None


def _assert_same_port(running: LocalBroker, settings: Settings) -> None:
    if running.port != settings.local_broker_port:
        raise Unavailable(
            f"the broker of {settings.state_dir} runs on port {running.port}, "
            f"but SEGUE_LOCAL_BROKER_PORT is {settings.local_broker_port}: "
            f"set SEGUE_LOCAL_BROKER_PORT={running.port}, or stop it first with `segue broker stop`"
        )


# ---------------------------------------------------------------- start


def _start(node: Node, port: int, jars: list[Path]) -> LocalBroker:
    node.root.mkdir(parents=True, exist_ok=True)
    _assert_room(node.root)
    _assert_free(port)
    node.configure(port, _free_port())
    node.format(jars)
    node.log.unlink(missing_ok=True)  # so that what is reported of a failed start is of this start
    if _pid_file(node).exists() and not node.ended_cleanly:
        node.fence(jars, _free_port())
    with node.console.open("wb") as console:
        child = subprocess.Popen(
            node.command(jars),
            stdin=subprocess.DEVNULL,
            stdout=console,
            stderr=subprocess.STDOUT,
            cwd=node.root,
            start_new_session=True,  # Ctrl-C and the terminal's end are for the command, not for the broker
        )
    child.returncode = 0  # it outlives us: Python must neither wait for it nor warn of it; psutil watches it
    _pid_file(node).write_text(f"{child.pid} {port}\n")
    return LocalBroker(psutil.Process(child.pid), port)


def _assert_room(root: Path) -> None:
    memory, disk = psutil.virtual_memory().available, shutil.disk_usage(root).free
    if memory < MEMORY_BYTES_MIN:
        raise Unavailable(
            f"the local broker needs about {_mb(MEMORY_BYTES_MIN)} of memory and {_mb(memory)} are free: "
            "close other programs, or set SEGUE_KAFKA to a cluster on another machine"
        )
    if disk < DISK_BYTES_MIN:
        raise Unavailable(
            f"the disk of {root} has {_mb(disk)} left, and the local broker needs {_mb(DISK_BYTES_MIN)}: "
            "free disk space, or set SEGUE_STATE_DIR to a folder on another disk"
        )


def _assert_free(port: int) -> None:
    deadline = monotonic() + RELEASE_S_MAX
    while (error := _bind_error(port)) == errno.EADDRINUSE and monotonic() < deadline:
        sleep(POLL_S)
    if error == errno.EADDRINUSE and (folder := _serves(port)) is not None:
        raise Unavailable(
            f"port {port} is taken by the local broker of {folder}: "
            f"set SEGUE_STATE_DIR={folder} to share it, or SEGUE_LOCAL_BROKER_PORT to a free port, "
            f"or stop it with `SEGUE_STATE_DIR={folder} segue broker stop`"
        )
    if error == errno.EADDRINUSE:
        raise Unavailable(
            f"port {port} is taken by another program: set SEGUE_LOCAL_BROKER_PORT to a free port, "
            f"or SEGUE_KAFKA=127.0.0.1:{port} if that program is a Kafka that you mean to use"
        )
    if error is not None:
        raise Unavailable(f"can't listen on 127.0.0.1:{port}: {os.strerror(error)}")


def _serves(port: int) -> Path | None:
    """The state folder whose broker has that port, if there is one and we may see it."""
    for process in psutil.process_iter(["cmdline"]):
        *_, last = process.info["cmdline"] or [""]
        node = Node(Path(last).parent)
        if last == str(node.properties) and (running := _running(node)) and running.port == port:
            return node.root.parent
    return None


def _bind_error(port: int) -> int | None:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as Kafka does
        try:
            probe.bind(("127.0.0.1", port))
        except OSError as error:
            return error.errno
    return None


def _free_port() -> int:
    """For the controller, to which only the broker beside it speaks: another port at each start is fine."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


# ---------------------------------------------------------------- answers


async def _ended_before_it_answered(node: Node, running: LocalBroker, settings: Settings) -> int | None:
    """None as soon as it answers, or its exit code: it failed to start, or was ending when it was found."""
    deadline = monotonic() + START_S_MAX
    while not await _listens(running.port) or await problem_of(settings) is not None:
        code = await _ended(running.process, POLL_S)
        if code is not None:
            return code
        if monotonic() > deadline:
            raise Unavailable(
                f"the local broker (pid {running.process.pid}) runs "
                f"but has not answered in {START_S_MAX:.0f} s: see {node.log}; `segue broker stop` stops it"
            )
    return None


async def _listens(port: int) -> bool:
    try:
        _, writer = await asyncio.open_connection("127.0.0.1", port)
    except OSError:
        return False
    writer.close()
    with suppress(OSError):
        await writer.wait_closed()
    return True


# ---------------------------------------------------------------- ends


async def _ended(process: psutil.Process, within_s: float) -> int | None:
    """The exit code, or -1 for a process that is not our child; None if it did not end within that time."""
    try:
        code = cast("int | None", await asyncio.to_thread(process.wait, within_s))
    except psutil.TimeoutExpired:
        return None
    return -1 if code is None else code


def _post_mortem(node: Node, code: int) -> str:
    """Why the broker died, for people: the cause where its last words tell, and those words."""
    words = (
        _last_lines(node.console, 8) + [line for line in _last_lines(node.log, 200) if _is_grave(line)][-8:]
    )
    said = "\n".join(words)
    if "No space left on device" in said:
        cause = f"the disk of {node.root} is full: free some, or set SEGUE_STATE_DIR to another disk"
    elif code == -9 or "insufficient memory" in said or "OutOfMemoryError" in said:
        cause = "it had too little memory: close something, or set SEGUE_KAFKA to a cluster elsewhere"
    else:
        cause = f"its log is {node.log}; to begin anew, without its data, delete {node.root}"
    return f"the local broker ended with code {code} while starting: {cause}\n{said}".rstrip()


def _is_grave(line: str) -> bool:
    return " ERROR " in line or " FATAL " in line or "Exception" in line


def _last_lines(path: Path, count: int) -> list[str]:
    if not path.exists():
        return []
    return path.read_text(errors="replace").splitlines()[-count:]


def _disk_bytes(folder: Path) -> int:
    """What the files take on the disk, which is less than their sizes: Kafka's indexes are sparse."""
    total = 0
    for path in folder.rglob("*"):
        with suppress(FileNotFoundError):  # Kafka deletes segments while we look
            total += path.stat().st_blocks * 512
    return total


def _mb(size: float) -> str:
    return f"{size / 1024 / 1024:.0f} MB"
