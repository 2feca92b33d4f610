"""A worker: some of the stages, in one process, each supervised; and the metrics of all of them.

    provision topics ─▶ take a name ─▶ start the stages ─▶ ready: each has its partitions ─▶ … ─▶ drain, stop

A stage's code, and the libraries that it needs, are imported only by workers that run it.
"""

import asyncio
import logging
import signal
from collections.abc import Sequence
from dataclasses import replace
from functools import partial

from mode import Service

from segue.processors.app.app import App
from segue.streams.calls.circuit_breakers import CircuitBreakers
from segue.streams.client.schedules import declare
from segue.streams.engine.pure_runner import PureRunner
from segue.streams.engine.resumption import Report, log_resumed
from segue.streams.engine.stages import ALL_STAGES, STAGES, Resources, extras_of
from segue.streams.engine.supervisor import SupervisedStage
from segue.streams.kafka.best_effort_producer import BestEffortProducer
from segue.streams.kafka.provisioning import provision
from segue.streams.object_store.expiry import Sweeper
from segue.streams.object_store.store import Objects, ensure_library
from segue.streams.observability.log_throttle import quiet_aiokafka
from segue.streams.observability.metrics import Metrics
from segue.streams.observability.watchdog import Watchdog
from segue.streams.process.worker_lock import WorkerLock
from segue.streams.settings import Settings
from segue.topics.errors import BadInput
from segue.topics.extras import require

log = logging.getLogger(__name__)


READY_POLL_S = 0.05


class Worker(Service):
    """`await start()` returns when the stages run, `await ready()` when they have their partitions."""

    def __init__(
        self,
        app: App,
        settings: Settings,
        stages: Sequence[str] = ALL_STAGES,
        metrics: Metrics | None = None,
        resumed: Report = log_resumed,
    ) -> None:
        """`resumed` is called for open tasks that this worker takes: see `engine.resumption`."""
        unknown = sorted(set(stages) - set(ALL_STAGES))
        if unknown:
            raise BadInput(f"there is no stage {', '.join(unknown)}: choose from {', '.join(ALL_STAGES)}")
        self.app = app
        self.settings = settings
        self.stages = tuple(stage for stage in stages if stage != "health" or app.circuit_breaker is not None)
        if not self.stages:
            raise BadInput(
                f"app {app.name!r} has no circuit breaker, which stage health needs: "
                "add one, App(…, circuit_breaker=CircuitBreaker())"
            )
        require(*sorted(extras_of(app, self.stages)))
        ensure_library(settings)
        self.lock = WorkerLock(settings, app.name)
        self.metrics = metrics if metrics is not None else Metrics(app, self.lock.name)
        self.objects = Objects(settings)
        self._resumed = resumed
        self.running: list[SupervisedStage] = []
        self._announcing: asyncio.Task[None] | None = None
        super().__init__()  # pyright: ignore[reportUnknownMemberType] # mode annotates in part

    @property
    def is_ready(self) -> bool:
        return bool(self.running) and all(stage.runner.ready for stage in self.running)

    async def ready(self) -> None:
        """Returns when every stage serves the partitions that its group gave to this worker."""
        while not self.is_ready:  # noqa: ASYNC110 - the stages' groups come and go with their restarts
            await asyncio.sleep(READY_POLL_S)

    async def on_start(self) -> None:
        quiet_aiokafka()
        if (intruded := self.lock.intruded()) is not None:
            log.warning(intruded)
        await provision(self.settings)
        if self.settings.metrics_port:
            host, port = self.settings.metrics_host, self.settings.metrics_port
            await self.metrics.serve(host, port, lambda: self.is_ready)
        await self.add_runtime_dependency(Watchdog())
        settings = self.settings.model_copy(update={"worker_id": self.lock.name})
        resources = await self._resources(settings)
        for name in self.stages:
            runner = STAGES[name](resources)
            stage = SupervisedStage(runner, partial(provision, settings))
            self.running.append(stage)
            await self.add_runtime_dependency(stage)
            if isinstance(runner, PureRunner) and name == "conduct":
                await self.add_runtime_dependency(Sweeper(settings, self.objects, runner.partitions))
        self._announcing = asyncio.create_task(self._announce())

    async def _resources(self, settings: Settings) -> Resources:
        """Calls go on whatever fails in the producer or the circuit breakers."""
        alone = Resources(
            self.app, settings, self.lock.name, self.metrics, self.objects, resumed=self._resumed
        )
        if not {"model", "tool"} & set(self.stages):
            return alone
        best_effort_producer = BestEffortProducer(settings)
        await self.add_runtime_dependency(best_effort_producer)
        if self.app.circuit_breaker is None:
            return replace(alone, best_effort_producer=best_effort_producer)
        board = CircuitBreakers(settings, self.lock.name, best_effort_producer, self.metrics)
        await self.add_runtime_dependency(board)
        return replace(alone, best_effort_producer=best_effort_producer, board=board)

    async def on_stop(self) -> None:
        if self._announcing is not None:
            self._announcing.cancel()
        for (
            stage
        ) in self.running:  # all at once: each would else be told only when the one before has stopped
            await stage.runner.stop()

    async def on_shutdown(self) -> None:
        await self.metrics.close()
        self.lock.free()

    async def _announce(self) -> None:
        await self.ready()
        log.info("worker %s is ready: %s", self.lock.name, ", ".join(self.stages))
        if "conduct" in self.stages and self.app.schedules:
            await declare(self.app, self.settings)

    def stop_on_signals(self) -> asyncio.Event:
        """Set when the process is asked to end (SIGTERM, SIGINT): await it, then `stop()`."""
        asked = asyncio.Event()
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, asked.set)
        return asked
