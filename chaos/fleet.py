"""The workers: real processes of `segue worker`, each on a machine, to be killed, frozen and replaced.

The first of them, the veteran, is frozen and starved like the others, but never ended: its memory tells
whether a worker grows.
"""

import asyncio
import contextlib
import os
import signal
import sys
import time
from asyncio.subprocess import Process
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from chaos.machine import Machine
from chaos.stores import Left, left_on

WORKER = ("segue.streams.cli", "worker", "chaos/app.py")
STOP_S_MAX = 40.0
WATCH_EVERY_S = 1.0
RESTART_S = 1.0
ROOT = Path(__file__).parents[1]


@dataclass(eq=False)
class Member:
    process: Process
    machine: Machine
    began_s: float = field(default_factory=time.monotonic)
    memory_mb: list[tuple[float, float]] = field(default_factory=list[tuple[float, float]])
    """Seconds since its start, and resident memory then."""
    leaving: bool = False
    frozen: bool = False


class Fleet:
    """`module` is what `python -m` runs: the real worker, or one with a planted bug."""

    def __init__(
        self,
        folder: Path,
        machines: int,
        env: dict[str, str],
        module: tuple[str, ...] = WORKER,
        has_veteran: bool = True,
    ) -> None:
        self._folder = folder
        self._env = os.environ | env
        self.machines = [Machine(number, folder) for number in range(1, machines + 1)]
        self._module = module
        self._has_veteran = has_veteran
        self._watching: asyncio.Task[None] | None = None
        self._starting: set[Machine] = set()
        self.members: list[Member] = []
        self.gone: list[Member] = []
        self.left: list[Left] = []
        """What workers that were killed left on their disks."""
        self.deaths: list[int] = []
        """Exit codes of workers that nobody asked to end: they are replaced, and told in the report."""

    async def start(self, count: int) -> None:
        for _ in range(count):
            await self.add()
        self._watching = asyncio.create_task(self._watch())

    async def add(self) -> None:
        machine = self._free_machines()[0]
        command = (sys.executable, "-m", "chaos.skewed", *self._module)
        self._starting.add(machine)
        try:
            with (self._folder / f"{machine.name}.log").open("ab") as log:
                process = await asyncio.create_subprocess_exec(
                    *command, env=self._env | machine.env, cwd=ROOT, stdout=log, stderr=log
                )
            self.members.append(Member(process, machine))
        finally:
            self._starting.discard(machine)

    @property
    def mortal(self) -> list[Member]:
        """All but the veteran, if there is one."""
        veteran = self.machines[0] if self._has_veteran else None
        return [member for member in self.members if member.machine is not veteran]

    async def kill(self, member: Member) -> None:
        self._leave(member)
        with contextlib.suppress(ProcessLookupError):
            member.process.kill()
        await member.process.wait()
        scratch = self._folder / "killed"
        self.left += await asyncio.to_thread(left_on, member.machine.disk, scratch)

    async def terminate(self, member: Member) -> None:
        """SIGTERM, and SIGKILL for one that does not listen: that counts as a death."""
        self._leave(member)
        with contextlib.suppress(ProcessLookupError):
            member.process.terminate()
        try:
            async with asyncio.timeout(STOP_S_MAX):
                code = await member.process.wait()
        except TimeoutError:
            member.process.kill()
            code = await member.process.wait()
        if code != 0:
            self.deaths.append(code)

    async def freeze(self, member: Member, seconds: float) -> None:
        member.frozen = True
        try:
            _signalled(member, signal.SIGSTOP)
            await asyncio.sleep(seconds)
        finally:
            _signalled(member, signal.SIGCONT)
            member.frozen = False

    async def stop(self) -> None:
        if self._watching is not None:
            self._watching.cancel()
        await asyncio.gather(*(self.terminate(member) for member in list(self.members)))

    def kill_all(self) -> None:
        """The last resort, when the harness itself ends by an error."""
        for member in self.members:
            with contextlib.suppress(ProcessLookupError):
                member.process.kill()
        for machine in self.machines:
            machine.scrap()

    def _free_machines(self) -> list[Machine]:
        """Those on which no worker runs: not even one that is about to end."""
        running = {each.machine for each in self.members + self.gone if each.process.returncode is None}
        return [each for each in self.machines if each not in running | self._starting]

    def _leave(self, member: Member) -> None:
        member.leaving = True
        self.members.remove(member)
        self.gone.append(member)

    async def _watch(self) -> None:
        while True:
            await asyncio.sleep(WATCH_EVERY_S)
            for member in list(self.members):
                code = member.process.returncode
                if code is not None and not member.leaving:
                    self._leave(member)
                    self.deaths.append(code)
                    await asyncio.sleep(RESTART_S)
                    if self._free_machines():  # a fault may have added one meanwhile
                        await self.add()
                elif code is None:
                    self._weigh(member)

    def _weigh(self, member: Member) -> None:
        with contextlib.suppress(psutil.Error):
            rss = psutil.Process(member.process.pid).memory_info().rss
            member.memory_mb.append((time.monotonic() - member.began_s, rss / 2**20))


def _signalled(member: Member, number: signal.Signals) -> None:
    """Unless it has ended by itself meanwhile."""
    with contextlib.suppress(ProcessLookupError):
        member.process.send_signal(number)
