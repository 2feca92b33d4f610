"""One peer's turn: its processes are started, do the work, tell what they did, and are gone.

CPU time is what the system counted for them while they worked, in µs per step: that of the programs (engine
and client are one process) and that of the server (with all processes that it started).
"""

import asyncio
import json
import os
import statistics
import sys
import time
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

import psutil

from benchmarks.peers.catalogue import Entry
from benchmarks.peers.install import PYTHON, Missing
from benchmarks.peers.servers import Server

ROOT = Path(__file__).parents[2]
ANSWER_S_MAX = 180.0
TASKS_TO_WARM_UP = 5
TASKS_ALONE = 40


@dataclass
class Turn:
    """`cpu_us` has what a step took of the programs, and of the server."""

    versions: dict[str, str]
    step_ms: list[float] = field(default_factory=list[float])
    steps_per_s: dict[int, float] = field(default_factory=dict[int, float])
    cpu_us: dict[int, tuple[float, float]] = field(default_factory=dict[int, tuple[float, float]])

    def summary(self) -> str:
        rates = ", ".join(f"{load} in flight: {rate:,.0f} steps/s" for load, rate in self.steps_per_s.items())
        return f"{rates}; alone: {statistics.median(self.step_ms):.2f} ms a step"


@dataclass(frozen=True)
class Program:
    process: Process
    log: IO[bytes]

    async def ask(self, *command: object) -> Any:
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps(command).encode() + b"\n")
        return await self.answer()

    async def answer(self) -> Any:
        assert self.process.stdout is not None
        try:
            line = await asyncio.wait_for(self.process.stdout.readline(), ANSWER_S_MAX)
        except TimeoutError:
            raise Missing(f"no answer in {ANSWER_S_MAX:.0f} s: {self._last_words()}") from None
        if not line:
            raise Missing(f"its program ended: {self._last_words()}")
        return json.loads(line)

    def _last_words(self) -> str:
        last = Path(self.log.name).read_text(errors="replace").strip().splitlines()[-3:]
        return " / ".join(last) or "it said nothing"


async def take(entry: Entry, server: Server, folder: Path, in_flights: list[int], seconds: float) -> Turn:
    env = os.environ | server.env | {"PEERS_TURN": f"turn-{time.time_ns()}"}
    async with AsyncExitStack() as stack:

        async def started(number: int) -> Program:
            program = await stack.enter_async_context(_program(entry, env, folder, number))
            turn.versions.update(await program.answer())
            return program

        turn = Turn({"server": server.version})
        programs = [await started(0)]  # the first makes the tables, and is alone for the steps alone
        await programs[0].ask("alone", TASKS_TO_WARM_UP)
        turn.step_ms = await programs[0].ask("alone", TASKS_ALONE)
        programs += [await started(number) for number in range(1, entry.processes)]
        for in_flight in in_flights:
            await _load(turn, programs, server, in_flight, seconds)
        return turn


async def _load(turn: Turn, programs: list[Program], server: Server, in_flight: int, seconds: float) -> None:
    own = [psutil.Process(program.process.pid) for program in programs]
    before = cpu_s(own), cpu_s([server.process])
    share = in_flight // len(programs)
    ran = await asyncio.gather(*(program.ask("run", share, seconds) for program in programs))
    steps = sum(each["steps"] for each in ran)
    turn.steps_per_s[in_flight] = sum(each["steps_per_s"] for each in ran)
    used = cpu_s(own) - before[0], cpu_s([server.process]) - before[1]
    turn.cpu_us[in_flight] = used[0] / steps * 1e6, used[1] / steps * 1e6


def cpu_s(processes: list[psutil.Process]) -> float:
    """Of these and all that they started, also of those that have ended since."""
    each = (one for process in processes for one in (process, *process.children(recursive=True)))
    return sum(sum(one.cpu_times()[:4]) for one in each)


@asynccontextmanager
async def _program(entry: Entry, env: dict[str, str], folder: Path, number: int) -> AsyncGenerator[Program]:
    python = sys.executable if entry.with_segue else str(PYTHON)
    command = (python, "-m", f"benchmarks.peers.{entry.program}", *entry.arguments)
    with (folder / f"{entry.program}-{number}.log").open("wb") as log:
        process = await asyncio.create_subprocess_exec(
            *command,
            cwd=ROOT,
            env=env | {"PEERS_PROCESS": str(number)},
            stdin=PIPE,
            stdout=PIPE,
            stderr=log,
            limit=2**24,
        )
        try:
            yield Program(process, log)
        finally:
            await _end(process)


async def _end(process: Process) -> None:
    """The end of its input tells it to stop."""
    assert process.stdin is not None
    process.stdin.close()
    try:
        async with asyncio.timeout(30):
            await process.wait()
    except TimeoutError:
        process.kill()
        await process.wait()
