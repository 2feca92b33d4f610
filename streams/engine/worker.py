"""A worker: some of the stages, in one process, each supervised; and the metrics of all of them.

    provision topics ─▶ take a name ─▶ start the stages ─▶ ready: each has its partitions ─▶ … ─▶ drain, stop

A stage's code, and the libraries that it needs, are imported only by workers that run it.
"""

import asyncio
import logging
import random
import signal
from collections.abc import Callable, Container, Sequence
from dataclasses import dataclass, replace
from functools import partial

from mode import Service

from segue.processors.app.app import App
from segue.processors.limits import Limits
from segue.streams.calls.calls import CheckCalls, RouteCalls
from segue.streams.calls.circuit_breakers import CircuitBoard
from segue.streams.calls.throttle import Gate
from segue.streams.client.schedules import declare
from segue.streams.engine.effect_runner import EffectRunner, EffectStage
from segue.streams.engine.local_calls import LocalCalls
from segue.streams.engine.pure_runner import PureRunner, PureStage
from segue.streams.engine.supervisor import Runner, SupervisedStage
from segue.streams.kafka.best_effort_producer import Announcer
from segue.streams.kafka.provisioning import provision
from segue.streams.object_store.expiry import Sweeper
from segue.streams.object_store.store import Objects
from segue.streams.observability.log_throttle import quiet_aiokafka
from segue.streams.observability.metrics import Metrics
from segue.streams.observability.watchdog import Watchdog
from segue.streams.process.worker_lock import Slot
from segue.streams.settings import Settings
from segue.topics.errors import BadInput
from segue.topics.flow import Stage, State

log = logging.getLogger(__name__)

ALL_STAGES = ("intake", "conduct", "model", "tool", "check", "recover", "delay", "health")

MODEL_CALLS_MAX = 64
"""At once in a worker: each holds a connection and perhaps megabytes; providers limit rates anyway."""

TOOL_CALLS_MAX = 512
"""Tools are light, and what they call is limited by their routes, not by this."""

READY_POLL_S = 0.05


class Worker(Service):
    """`await start()` returns when the stages run, `await ready()` when they have their partitions."""

    def __init__(
        self,
        app: App,
        settings: Settings,
        stages: Sequence[str] = ALL_STAGES,
        metrics: Metrics | None = None,
    ) -> None:
        unknown = sorted(set(stages) - set(ALL_STAGES))
        if unknown:
            raise BadInput(f"no stage {', '.join(unknown)}; there are: {', '.join(ALL_STAGES)}")
        self.app = app
        self.settings = settings
        self.stages = tuple(stage for stage in stages if stage != "health" or app.circuits is not None)
        if not self.stages:
            raise BadInput(f"app {app.name!r} has no circuits: give it some, App(…, circuits=Circuits())")
        self.slot = Slot(settings, app.name)
        self.metrics = metrics if metrics is not None else Metrics(app, self.slot.name)
        self.objects = Objects(settings)
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
        if (intruded := self.slot.intruded()) is not None:
            log.warning(intruded)
        await provision(self.settings)
        if self.settings.metrics_port:
            host, port = self.settings.metrics_host, self.settings.metrics_port
            await self.metrics.serve(host, port, lambda: self.is_ready)
        await self.add_runtime_dependency(Watchdog())
        settings = self.settings.model_copy(update={"worker": self.slot.name})
        beside = await self._beside(settings)
        for name in self.stages:
            runner = runner_of(name, self.app, settings, self.slot.name, self.metrics, self.objects, beside)
            stage = SupervisedStage(runner, partial(provision, settings))
            self.running.append(stage)
            await self.add_runtime_dependency(stage)
            if isinstance(runner, PureRunner) and name == "conduct":
                await self.add_runtime_dependency(Sweeper(settings, self.objects, runner.partitions))
        self._announcing = asyncio.create_task(self._announce())

    async def _beside(self, settings: Settings) -> "Beside":
        """Whatever goes wrong in them, calls go on."""
        if not {"model", "tool"} & set(self.stages):
            return Beside()
        announcer = Announcer(settings)
        await self.add_runtime_dependency(announcer)
        if self.app.circuits is None:
            return Beside(announcer)
        board = CircuitBoard(settings, self.slot.name, announcer, self.metrics)
        await self.add_runtime_dependency(board)
        return Beside(announcer, board)

    async def on_stop(self) -> None:
        if self._announcing is not None:
            self._announcing.cancel()
        for (
            stage
        ) in self.running:  # all at once: each would else be told only when the one before has stopped
            await stage.runner.stop()

    async def on_shutdown(self) -> None:
        await self.metrics.close()
        self.slot.free()

    async def _announce(self) -> None:
        await self.ready()
        log.info("worker %s is ready: %s", self.slot.name, ", ".join(self.stages))
        if "conduct" in self.stages and self.app.schedules:
            await declare(self.app, self.settings)

    def stop_on_signals(self) -> asyncio.Event:
        """Set when the process is asked to end (SIGTERM, SIGINT): await it, then `stop()`."""
        asked = asyncio.Event()
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, asked.set)
        return asked


# ---------------------------------------------------------------- the stages


@dataclass(frozen=True)
class Beside:
    """What a worker's effect stages share: the way out for what may be lost, and the circuits."""

    announcer: Announcer | None = None
    board: CircuitBoard | None = None


def runner_of(
    name: str,
    app: App,
    settings: Settings,
    worker: str,
    metrics: Metrics,
    objects: Objects,
    beside: Beside = Beside(),
) -> Runner:
    if name == "health":
        from segue.streams.engine.health_stage import HealthRunner

        assert app.circuits is not None
        return HealthRunner(app.circuits, settings, worker, metrics)
    if name in ("model", "tool", "check"):
        effects = _effects(name, app, metrics, objects, _gate(name, app, settings, metrics, beside), beside)
        return EffectRunner(effects, settings, worker, metrics)
    make = _maker(name, app, settings.limits, objects)
    if name != "conduct":
        return PureRunner(PureStage(name, make), settings, worker, metrics)
    again = _maker_again(app, settings.limits, objects)
    stage = PureStage(name, make, lingers=True, make_again=again)
    local = local_calls(app, metrics, objects) if app.local else None
    return PureRunner(stage, settings, worker, metrics, local, objects)


def local_calls(app: App, metrics: Metrics, objects: Objects) -> LocalCalls:
    from segue.streams.executors.tool import ToolExecutor

    return LocalCalls(app, RouteCalls("tool", app, ToolExecutor(app), metrics, objects))


def _gate(name: str, app: App, settings: Settings, metrics: Metrics, beside: Beside) -> Gate | None:
    """Checks are code of the app's own: they have no candidates."""
    if name == "check" or not (app.limits or beside.board):
        return None
    gate = Gate(name, app, settings, beside.board)
    for limit in gate.limits:
        metrics.limit_wait(name, limit, partial(gate.waited_s, limit))
    return gate


def _maker(name: str, app: App, limits: Limits, objects: Objects) -> Callable[[State], Stage]:
    match name:
        case "intake":
            from segue.processors.stages.intake import Intake

            return lambda _: Intake(app, limits)
        case "conduct":
            from segue.processors.stages.conduct import Conduct

            return lambda state: Conduct(app, state, random.Random, limits, references=objects)
        case "recover":
            from segue.processors.stages.recover import Recover

            return lambda _: Recover(app)
        case _:
            from segue.processors.stages.delay import Delays

            return Delays


def _maker_again(app: App, limits: Limits, objects: Objects) -> Callable[[State, Container[str]], Stage]:
    """Of the stage that handles old logs again: the tasks that waited for their turn do so, and no others."""
    from segue.processors.stages.conduct import Conduct

    unlimited = replace(limits, open_tasks_per_tenant_max=None, waiting_tasks_per_tenant_max=None)
    return lambda state, waited: Conduct(
        app, state, random.Random, unlimited, references=objects, silent=True, waited=waited
    )


def _effects(
    name: str,
    app: App,
    metrics: Metrics,
    objects: Objects,
    gate: Gate | None,
    beside: Beside,
) -> EffectStage:
    match name:
        case "model":
            from segue.streams.executors.model import ModelExecutor

            calls = RouteCalls(
                name, app, ModelExecutor(app), metrics, objects, beside.board, gate, beside.announcer
            )
            return EffectStage(name, calls, MODEL_CALLS_MAX, gate)
        case "tool":
            from segue.streams.executors.tool import ToolExecutor

            calls = RouteCalls(name, app, ToolExecutor(app), metrics, objects, beside.board, gate)
            return EffectStage(name, calls, TOOL_CALLS_MAX, gate)
        case _:
            from segue.streams.executors.check import CheckExecutor

            return EffectStage(
                name, CheckCalls(name, app, CheckExecutor(app), metrics, objects), TOOL_CALLS_MAX
            )
