"""One seed's world: its chance, its time, its processes, and what goes wrong when.

Whatever a worker says to the broker, to its disk or to a tool passes through `Process.passes`: there it takes
a drawn time, and there faults strike. Passes of workers are counted, and a fault is due at a number: the same
seed fails at the same places, and a schedule gets shorter by leaving faults out.
"""

import asyncio
import contextvars
import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any, TypeVar

from aiokafka.errors import KafkaError, RequestTimedOutError

from segue.processors.event_loop.loop import WorkflowTask
from segue.streams.kafka.broker_clock import Clock
from tests.simulation.loop import Loop

T = TypeVar("T")

START_MS = 1_790_000_000_000

SESSION_S = 10.0
HEARTBEAT_S = SESSION_S / 3

REFUSALS: dict[str, type[KafkaError]] = {"refuse": RequestTimedOutError, "fail": KafkaError}
"""Faults that strike the next request: it may be tried again, or ends the run of its stage after a while."""

PROCESS: contextvars.ContextVar["Process"] = contextvars.ContextVar("process")
"""Whose code runs."""


@dataclass(frozen=True)
class Fault:
    """`kind` strikes whoever makes the pass with number `at`; `s` is how long it lasts."""

    at: int
    kind: str
    s: float

    def __str__(self) -> str:
        return f"{self.kind}@{self.at} ({self.s:.1f} s)"


class World:
    def __init__(self, seed: int, faults: tuple[Fault, ...], passes_max: int) -> None:
        self.loop = Loop()  # type: ignore[abstract]
        self.chance = random.Random(seed)
        self.passes = 0
        self.faults = {fault.at: fault for fault in faults}
        self.passes_max = passes_max + max(self.faults, default=0)
        self.rebalance_timeout_s = 30.0
        self.processes: list[Process] = []
        self.strike: Callable[[Process, Fault], None] = _nothing
        self.trace: list[str] | None = None
        self.exhausted: asyncio.Future[None] = self.loop.create_future()
        """Done when more was done than the seed should take."""

    @property
    def now_ms(self) -> int:
        """The true time, which is the broker's."""
        return START_MS + round(self.loop.now_s * 1000)

    def later(self, s: float, callback: Callable[[], object]) -> None:
        self.loop.call_later(s, callback)

    def latency_s(self) -> float:
        """Mostly a millisecond or none, now and then much longer."""
        drawn = self.chance.random()
        if drawn < 0.4:
            return 0.0
        if drawn < 0.97:
            return 0.0002 + drawn * 0.002
        return 0.02 + (drawn - 0.97) * 20

    def note(self, who: "Process", what: str) -> None:
        if self.trace is not None:
            self.trace.append(f"{self.loop.now_s:10.3f} s  {who.name:<8} {what}")


@dataclass(eq=False)
class Process:
    """A worker's process. What it keeps on disk outlives it; nothing else does."""

    world: World
    name: str
    disk: dict[str, Any] = field(default_factory=dict[str, Any])
    skew_ms: int = 0
    counted: bool = True
    dead: bool = False
    stopping: bool = False
    tasks: list["asyncio.Task[Any]"] = field(default_factory=list["asyncio.Task[Any]"])
    consumers: list[Any] = field(default_factory=list[Any])
    runners: list[Any] = field(default_factory=list[Any])
    _frozen: "asyncio.Future[None] | None" = None
    _silent: "asyncio.Future[None] | None" = None

    def __post_init__(self) -> None:
        self.clock = Clock(lambda: self.wall_ms * 1_000_000, lambda: round(self.world.loop.now_s * 1e9))

    @property
    def wall_ms(self) -> int:
        """What its wall clock says."""
        return self.world.now_ms + self.skew_ms

    def start(self, running: Callable[[], Awaitable[Any]]) -> "asyncio.Task[Any]":
        context = contextvars.copy_context()
        context.run(PROCESS.set, self)

        async def run() -> None:
            await running()

        task = self.world.loop.create_task(run(), context=context)
        self.tasks.append(task)
        return task

    # ------------------------------------------------------------ what it does

    @property
    def is_unheard(self) -> bool:
        return self._frozen is not None or self._silent is not None

    async def passes(self, what: str, refusable: bool = False) -> None:
        """Something goes between this process and the world."""
        self._check()
        if latency_s := self.world.latency_s():
            await asyncio.sleep(latency_s)
        if self.counted and (refusal := self._count(what, refusable)) is not None:
            if refusal.kind == "fail":
                await asyncio.sleep(refusal.s)
            raise REFUSALS[refusal.kind](f"simulated: {what}")
        while self._frozen is not None:
            await asyncio.shield(self._frozen)
        self._check()

    def _count(self, what: str, refusable: bool) -> Fault | None:
        """Strike with the fault that is due, or return it if it is this request's refusal."""
        world = self.world
        world.passes += 1
        world.note(self, what)
        if world.passes > world.passes_max and not world.exhausted.done():
            world.exhausted.set_result(None)
        fault = world.faults.pop(world.passes, None)
        if fault is None:
            return None
        world.note(self, f"* {fault}")
        if fault.kind not in REFUSALS:
            world.strike(self, fault)
        elif refusable:
            return fault
        else:
            world.faults.setdefault(world.passes + 1, fault)
        return None

    async def ask(self, what: str, effect: Callable[[], T]) -> T:
        """A request and its answer; either may be lost with the process, or met by a fault."""
        await self.passes(what, refusable=True)
        answer = effect()
        await self.passes(f"{what}: answered", refusable=True)
        return answer

    async def heard(self) -> None:
        """Returns when the group's coordinator can speak to it again."""
        while self._silent is not None:
            await asyncio.shield(self._silent)

    def _check(self) -> None:
        if self.dead:
            raise asyncio.CancelledError

    # ------------------------------------------------------------ what happens to it

    def kill(self) -> None:
        """From now on nothing that it does has an effect; its tasks only unwind."""
        self.dead = True
        for release in (self._frozen, self._silent):
            if release is not None and not release.done():
                release.set_result(None)
        self._frozen = self._silent = None
        for task in sorted(asyncio.all_tasks(self.world.loop), key=hash):
            if isinstance(task, WorkflowTask) and task.context.get(PROCESS) is self:
                task.cancel()
        self._expire()

    def freeze(self, s: float) -> None:
        if self._frozen is not None:
            return
        frozen = self._frozen = self.world.loop.create_future()

        def thaw() -> None:
            if self._frozen is frozen:
                self._frozen = None
                self.world.note(self, "thaws")
                frozen.set_result(None)

        self.world.later(s, thaw)
        if s > SESSION_S:
            self._expire()

    def silence(self, s: float) -> None:
        """It goes on, but its heartbeats are lost."""
        if self._silent is not None:
            return
        silent = self._silent = self.world.loop.create_future()

        def hear() -> None:
            if self._silent is silent:
                self._silent = None
                silent.set_result(None)

        self.world.later(s, hear)
        if s > SESSION_S:
            self._expire()

    def _expire(self) -> None:
        for consumer in self.consumers:
            self.world.later(SESSION_S, consumer.expire)


def _nothing(*_: Any) -> None: ...
