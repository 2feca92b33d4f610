"""What a worker knows of the candidates' health, and what it counts itself.

    calls ─▶ ended ─▶ tallies, each second ─▶ topic `outcomes` ─▶ stage health ─▶ topic `health`
    calls ◀─ refusal ◀─ the latest record of each candidate ◀─────────────────────────┘

A worker reads `health` whole and without a group. If it can't, or nobody publishes it, what it knows grows
old, and calls are made as if there were no circuits.
"""

import asyncio
import logging
from collections import Counter
from dataclasses import dataclass, field
from functools import partial

from mode import Service

from segue.processors.routing.circuit_breaker import BEING_TRIED, believed, latency_key, refusal
from segue.streams.calls.candidate_stats import Figures
from segue.streams.kafka.best_effort_producer import BestEffortProducer
from segue.streams.kafka.broker_clock import now_ms
from segue.streams.kafka.reader import Reader
from segue.streams.observability.metrics import Metrics
from segue.streams.settings import Settings
from segue.topics import codec
from segue.topics.errors import BadRecord
from segue.topics.flow import Received
from segue.topics.health import Health, State, Tally

log = logging.getLogger(__name__)

TALLY_S = 1.0
"""Soon enough for circuits that are open for some seconds; a candidate costs a record a second at most."""

AGAIN_S = 5.0
CANDIDATES_MAX = 1_000
"""That are counted in a worker; apps declare far fewer."""


@dataclass
class Counts:
    attempts: int = 0
    failures: int = 0
    probes: int = 0
    probes_failed: int = 0
    skipped: int = 0
    latencies: Counter[int] = field(default_factory=Counter[int])


class CircuitBreakers(Service):
    """One for all stages of a worker. `figures` is for whoever chooses among candidates."""

    def __init__(
        self, settings: Settings, worker: str, best_effort_producer: BestEffortProducer, metrics: Metrics
    ) -> None:
        self._settings = settings
        self._worker = worker
        self._best_effort_producer = best_effort_producer
        self._metrics = metrics
        self._known: dict[str, Health] = {}
        self._counts: dict[str, Counts] = {}
        self._probing: dict[str, int] = {}
        """Who is being tried from here, or was in vain, by the `since_ms` of that trial."""
        self._loops: list[asyncio.Task[None]] = []
        super().__init__()  # pyright: ignore[reportUnknownMemberType] # mode annotates in part

    async def on_start(self) -> None:
        self._loops = [asyncio.create_task(self._follow_for_ever()), asyncio.create_task(self._tell())]

    async def on_stop(self) -> None:
        for loop in self._loops:
            loop.cancel()
        await asyncio.gather(*self._loops, return_exceptions=True)

    # ------------------------------------------------------------ for those who call

    def of(self, route: str, candidate: str) -> Figures:
        """How it is doing over all workers, for a route that chooses.

        Who is not chosen for what is known of it would never be known better. So what is old is forgotten,
        and asking for one that is left alone counts as a call that was skipped, which moves its circuit on.
        """
        health = self._known.get(candidate)
        if health is None or now_ms() > health.good_until_ms:
            return Figures()
        if health.state != "closed":
            self.skipped(candidate)
        latency_s = None if health.latency_p50_ms is None else health.latency_p50_ms / 1000
        return Figures(latency_s, health.failure_share, health.state)

    def circuit(self, candidate: str) -> State:
        """As calls go by it."""
        return believed(self._known.get(candidate), now_ms())

    def refusal(self, candidate: str) -> str | None:
        """Why it is not to be called now; None if it is."""
        match self.circuit(candidate):
            case "open":
                return refusal(self._known[candidate])
            case "half_open" if self._is_tried(candidate):
                return BEING_TRIED
            case _:
                return None

    def begin(self, candidate: str) -> bool:
        """A call begins. Whether it is a probe, of which `ended` or `given_up` must tell."""
        if self.circuit(candidate) != "half_open" or self._is_tried(candidate):
            return False
        self._probing[candidate] = self._known[candidate].since_ms
        return True

    def _is_tried(self, candidate: str) -> bool:
        """From here, now or in vain, since its circuit is half open."""
        return self._probing.get(candidate) == self._known[candidate].since_ms

    def skipped(self, candidate: str) -> None:
        if (counts := self._of(candidate)) is not None:
            counts.skipped += 1

    def ended(self, candidate: str, duration_ms: float, *, failed: bool, probe: bool) -> None:
        """A failed probe is the last from here until the circuit is judged anew."""
        if probe and not failed:
            self._probing.pop(candidate, None)
        if (counts := self._of(candidate)) is None:
            return
        counts.attempts += 1
        counts.failures += failed
        counts.probes += probe
        counts.probes_failed += probe and failed
        counts.latencies[latency_key(duration_ms)] += 1

    def given_up(self, candidate: str, *, probe: bool) -> None:
        """The call was cancelled, since its partition went to another worker: it tells nothing."""
        if probe:
            self._probing.pop(candidate, None)

    def _of(self, candidate: str) -> Counts | None:
        if candidate not in self._counts and len(self._counts) >= CANDIDATES_MAX:
            return None
        return self._counts.setdefault(candidate, Counts())

    # ------------------------------------------------------------ to and from the topics

    async def _tell(self) -> None:
        while True:
            await asyncio.sleep(TALLY_S)
            counts, self._counts = self._counts, {}
            for candidate, counted in counts.items():
                tally = Tally(candidate=candidate, worker=self._worker, at_ms=now_ms(), **vars(counted))
                self._best_effort_producer.tell("outcomes", candidate, tally)

    async def _follow_for_ever(self) -> None:
        while True:
            try:
                await self._follow()
            except Exception as error:  # noqa: BLE001 - whatever it is, calls are made without
                log.warning("the health of candidates can't be read: %s; calls go on", error)
            await asyncio.sleep(AGAIN_S)

    async def _follow(self) -> None:
        async with Reader(self._settings) as reader:
            starts = await reader.beginnings(reader.partitions("health"))
            async for record in reader.tail(starts):
                self.learn(record)

    def learn(self, record: Received) -> None:
        """A record of `health`; what can't be read is a newer worker's."""
        try:
            health: Health = codec.decode(record.topic, record.value)
        except BadRecord:
            return
        before = self._known.get(health.candidate)
        if before is not None and before.at_ms > health.at_ms:
            return  # read again from the beginning, after a lost connection
        self._known[health.candidate] = health
        self._metrics.circuit(health.candidate, partial(self.circuit, health.candidate))
        was = "closed" if before is None else before.state
        if was != health.state and now_ms() < health.good_until_ms:
            log.info("the circuit of %s is %s", health.candidate, health.state.replace("_", " "))
