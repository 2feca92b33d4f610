"""A peer's process: it starts its engine, then does what each line of JSON on its standard input says.

    ["run", 64, 5.0]   keep 64 tasks in flight for so many seconds; the answer is a `Ran`
    ["alone", 40]      that many tasks, one at a time; the answer is the ms of each step
    (the end)          stop

Each answer is a line on standard output, and so is the first, which says the versions that run. What
libraries print or log goes to standard error.

A task makes `STEPS` no-op steps, one after the other, each with a result of 200 bytes. Steps of a task are
timed from one call of the no-op function to the next: in between lies all that makes a step durable.
"""

import asyncio
import json
import logging
import os
import sys
import time
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import asdict, dataclass
from importlib.metadata import version
from itertools import pairwise
from typing import Any, Protocol

STEPS = 6
RESULT = {"ok": True, "text": "x" * 179}
assert len(json.dumps(RESULT, separators=(",", ":"))) == 200

called_at: list[float] = []


async def noop() -> dict[str, Any]:
    called_at.append(time.perf_counter())
    return RESULT


@dataclass(frozen=True)
class Ran:
    """`steps_per_s` is of the window; `steps` are all, with those of warming up, for CPU time per step."""

    steps_per_s: float
    steps: int


class Peer(Protocol):
    async def run(self, in_flight: int, seconds: float) -> Ran: ...
    async def alone(self, tasks: int) -> list[float]: ...


@dataclass(frozen=True)
class Awaited:
    """A peer whose task is one await, until its result is there."""

    task: Callable[[], Awaitable[object]]

    async def run(self, in_flight: int, seconds: float) -> Ran:
        """Steps made within the window count; it opens after a quarter of it for warming up.

        Not those of tasks that ended within it: slow peers end 512 tasks at about the same time, or none.
        """
        opens = time.perf_counter() + seconds / 4
        closes = opens + seconds
        called_at.clear()

        async def one_after_the_other() -> None:
            while time.perf_counter() < closes:
                await self.task()

        await asyncio.gather(*(one_after_the_other() for _ in range(in_flight)))
        counted = sum(opens <= at <= closes for at in called_at)
        return Ran(counted / seconds, len(called_at))

    async def alone(self, tasks: int) -> list[float]:
        found: list[float] = []
        for _ in range(tasks):
            called_at.clear()
            await self.task()
            found += [(b - a) * 1000 for a, b in pairwise(called_at)]
        return found


def serve(started: Callable[[], AbstractAsyncContextManager[Peer]], *libraries: str) -> None:
    logging.basicConfig()  # without it Faust's warnings and errors go nowhere
    with os.fdopen(os.dup(1), "w") as answers:
        os.dup2(2, 1)
        asyncio.run(_serve(started, answers.write, answers.flush, libraries))


async def _serve(
    started: Callable[[], AbstractAsyncContextManager[Peer]],
    write: Callable[[str], object],
    flush: Callable[[], object],
    libraries: tuple[str, ...],
) -> None:
    def answer(what: object) -> None:
        write(json.dumps(what) + "\n")
        flush()

    async with started() as peer:
        answer({library: version(library) for library in libraries})
        while line := await asyncio.to_thread(sys.stdin.readline):
            match json.loads(line):
                case ["run", in_flight, seconds]:
                    answer(asdict(await peer.run(in_flight, seconds)))
                case ["alone", tasks]:
                    answer(await peer.alone(tasks))
                case other:
                    raise ValueError(f"no such command: {other}")
