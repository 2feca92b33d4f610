"""What breaks, and in which order: drawn from the seed alone, so that a bad run can be made again.

A `Fault` says what, for how long, and how long all is left in peace before it. `pick` chooses among the
workers that are there when its time comes.
"""

import asyncio
import math
import time
from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from random import Random
from typing import Literal, get_args

from chaos.broker import Broker
from chaos.fleet import Fleet, Member
from chaos.machine import Machine
from chaos.proxy import Proxy

Kind = Literal[
    "kill",
    "loss",
    "kill two",
    "terminate",
    "freeze",
    "blink",
    "add",
    "remove",
    "broker",
    "cut",
    "slow",
    "silence",
    "disk",
    "disks",
    "clock",
]
WEIGHTS: dict[Kind, int] = {
    "kill": 3,
    "loss": 2,
    "kill two": 1,
    "terminate": 2,
    "freeze": 2,
    "blink": 2,
    "add": 2,
    "remove": 2,
    "broker": 2,
    "cut": 3,
    "slow": 1,
    "silence": 1,
    "disk": 2,
    "disks": 1,
    "clock": 3,
}
assert set(WEIGHTS) == set(get_args(Kind))

ALONE: frozenset[Kind] = frozenset({"kill", "loss"})
"""They come when work flows, and no other comes before it flows again: so it is known how long that takes."""

NEEDS_SMALL_DISKS: frozenset[Kind] = frozenset({"disk", "disks"})

WORKERS_MIN = 2
WORKERS_MAX = 4
SESSION_TIMEOUT_S = 6.0
"""A worker silent for so long loses its partitions: `freeze` lasts longer, `blink` does not."""

LASTS_S: dict[Kind, tuple[float, float]] = {
    "kill": (0.0, 2.0),  # until the worker is replaced
    "kill two": (0.0, 2.0),
    "freeze": (SESSION_TIMEOUT_S + 2, SESSION_TIMEOUT_S + 5),
    "blink": (0.5, 4.0),
    "broker": (0.0, 3.0),  # until it is started again
    "slow": (2.0, 5.0),
    "silence": (1.0, 8.0),
    "disk": (2.0, 8.0),
    "disks": (1.0, 5.0),
    "clock": (2.0, 8.0),
}
PEACE_S = (0.5, 4.0)
LATENCY_S = (0.02, 0.2)
JUMP_S = (1.0, 3 * 60 * 60.0)


@dataclass(frozen=True)
class Fault:
    kind: Kind
    peace_s: float
    lasts_s: float
    pick: float
    """From 0 to 1."""

    def among(self, members: Sequence[Member]) -> Member:
        return members[int(self.pick * len(members)) % len(members)]

    @property
    def jump_s(self) -> float:
        """How far a clock is moved: seconds as often as hours, forward as often as back."""
        random = Random(self.pick)
        low, high = map(math.log, JUMP_S)
        return random.choice((-1, 1)) * math.exp(random.uniform(low, high))


@dataclass(frozen=True)
class Happened:
    kind: Kind
    began_s: float
    ended_s: float


def drawn(seed: int) -> Iterator[Fault]:
    """Without end. Each round holds every kind at least as often as its weight, in an order of its own."""
    random = Random(f"faults {seed}")
    while True:
        kinds: list[Kind] = [kind for kind, weight in WEIGHTS.items() for _ in range(weight)]
        random.shuffle(kinds)
        for kind in kinds:
            lasts_s = random.uniform(*LASTS_S.get(kind, (0.0, 0.0)))
            yield Fault(kind, random.uniform(*PEACE_S), lasts_s, random.random())


class Saboteur:
    """Makes faults happen. `flowing` returns when what was submitted after that moment has come to an end."""

    def __init__(
        self, broker: Broker, proxy: Proxy, fleet: Fleet, flowing: Callable[[float], Awaitable[None]]
    ) -> None:
        self._broker = broker
        self._proxy = proxy
        self._fleet = fleet
        self._flowing = flowing
        self.happened: list[Happened] = []

    async def make(self, fault: Fault) -> None:
        if fault.kind in ALONE:
            await self._flowing(time.monotonic())
        began_s = time.monotonic()
        kind = self._possible(fault.kind)
        await self._make(kind, fault)
        self.happened.append(Happened(kind, began_s, time.monotonic()))
        if kind in ALONE:
            await self._flowing(began_s)

    def _possible(self, kind: Kind) -> Kind:
        """Workers that come and go stay within their bounds."""
        fleet = self._fleet
        if kind == "add" and len(fleet.members) >= WORKERS_MAX:
            return "remove"
        if kind == "remove" and len(fleet.members) <= WORKERS_MIN:
            return "add"
        return kind if fleet.mortal else "add"

    async def _make(self, kind: Kind, fault: Fault) -> None:
        fleet, proxy = self._fleet, self._proxy
        anyone, mortal = fault.among(fleet.members), fault.among(fleet.mortal or fleet.members)
        match kind:
            case "kill" | "kill two":
                victims = fleet.mortal[:2] if kind == "kill two" else [mortal]
                for each in victims:
                    await fleet.kill(each)
                await asyncio.sleep(fault.lasts_s)
                for _ in victims:
                    await fleet.add()
            case "loss":
                lost_s = time.monotonic()
                await fleet.kill(mortal)
                await self._flowing(lost_s)
                await fleet.add()
            case "terminate":
                await fleet.terminate(mortal)
                await fleet.add()
            case "freeze" | "blink":
                await fleet.freeze(anyone, fault.lasts_s)
            case "add":
                await fleet.add()
            case "remove":
                await fleet.terminate(mortal)
            case "disk" | "disks":
                await _fill(fleet.machines if kind == "disks" else [anyone.machine], fault.lasts_s)
            case "clock":
                anyone.machine.set_clock(fault.jump_s)
                await asyncio.sleep(fault.lasts_s)
                anyone.machine.set_clock(0.0)
            case "broker":
                await self._broker.kill()
                await asyncio.sleep(fault.lasts_s)
                await self._broker.start()
            case "cut":
                proxy.cut(Random(fault.pick), share=0.5 + fault.pick / 2)
            case "slow":
                low, high = LATENCY_S
                proxy.latency_s = low + (high - low) * fault.pick
                await asyncio.sleep(fault.lasts_s)
                proxy.heal()
            case "silence":
                proxy.silence()
                await asyncio.sleep(fault.lasts_s)
                proxy.heal()


async def _fill(machines: Iterable[Machine], seconds: float) -> None:
    for machine in machines:
        await asyncio.to_thread(machine.fill_disk)
    try:
        await asyncio.sleep(seconds)
    finally:
        for machine in machines:
            machine.empty_disk()
