"""What breaks, and in which order: drawn from the seed alone, so that a bad run can be made again.

A `Fault` says what, for how long, and how long all is left in peace before it. `pick` chooses among the
workers that are there when its time comes.
"""

import asyncio
import time
from collections.abc import Iterator
from dataclasses import dataclass
from random import Random
from typing import Literal, get_args

from chaos.broker import Broker
from chaos.fleet import Fleet, Member
from chaos.proxy import Proxy

Kind = Literal[
    "kill", "kill two", "terminate", "freeze", "blink", "add", "remove", "broker", "cut", "slow", "silence"
]
WEIGHTS: dict[Kind, int] = {
    "kill": 5,
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
}
assert set(WEIGHTS) == set(get_args(Kind))

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
}
PEACE_S = (1.0, 6.0)
LATENCY_S = (0.02, 0.2)


@dataclass(frozen=True)
class Fault:
    kind: Kind
    peace_s: float
    lasts_s: float
    pick: float
    """From 0 to 1."""


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
    """Makes faults happen."""

    def __init__(self, broker: Broker, proxy: Proxy, fleet: Fleet) -> None:
        self._broker = broker
        self._proxy = proxy
        self._fleet = fleet
        self.happened: list[Happened] = []

    async def make(self, fault: Fault) -> None:
        began_s = time.time()
        kind = self._possible(fault.kind)
        await self._make(kind, fault)
        self.happened.append(Happened(kind, began_s, time.time()))

    def _possible(self, kind: Kind) -> Kind:
        """Workers that come and go stay within their bounds."""
        if kind == "add" and len(self._fleet.members) >= WORKERS_MAX:
            return "remove"
        if kind == "remove" and len(self._fleet.members) <= WORKERS_MIN:
            return "add"
        return kind

    async def _make(self, kind: Kind, fault: Fault) -> None:
        fleet, proxy, victim = self._fleet, self._proxy, self._victim(fault)
        match kind:
            case "kill" | "kill two":
                victims = fleet.members[:2] if kind == "kill two" else [victim]
                for each in list(victims):
                    await fleet.kill(each)
                await asyncio.sleep(fault.lasts_s)
                for _ in victims:
                    await fleet.add()
            case "terminate":
                await fleet.terminate(victim)
                await fleet.add()
            case "freeze" | "blink":
                await fleet.freeze(victim, fault.lasts_s)
            case "add":
                await fleet.add()
            case "remove":
                await fleet.terminate(victim)
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

    def _victim(self, fault: Fault) -> Member:
        members = self._fleet.members
        return members[int(fault.pick * len(members)) % len(members)]
