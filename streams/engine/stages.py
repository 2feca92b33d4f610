"""The stages of a worker, each with what makes its runner.

A stage's code, and the libraries that it needs, are imported only by workers that run it.
"""

import random
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from segue.processors.app.app import App
from segue.processors.routing.mcp import McpTool
from segue.processors.routing.openapi import OpenApiTool
from segue.streams.calls.calls import CallPipeline, attempt
from segue.streams.calls.candidate_selection import CandidateSelector
from segue.streams.calls.candidate_stats import Measured
from segue.streams.calls.circuit import CircuitSteps
from segue.streams.calls.circuit_breakers import CircuitBreakers
from segue.streams.calls.context import Step
from segue.streams.calls.steps import Stream, execute, execute_checks, execute_model
from segue.streams.calls.throttle import CallThrottle
from segue.streams.engine.effect_runner import EffectRunner, EffectStage
from segue.streams.engine.local_calls import LocalCalls
from segue.streams.engine.pure_runner import PureRunner, PureStage
from segue.streams.engine.resumption import Report, log_resumed, report_resumed
from segue.streams.engine.supervisor import Runner
from segue.streams.kafka.best_effort_producer import BestEffortProducer
from segue.streams.object_store.store import Objects
from segue.streams.observability.metrics import Metrics
from segue.streams.settings import Settings
from segue.topics.extras import extra_of_model


@dataclass(frozen=True)
class Resources:
    """What the stages of a worker share.

    `best_effort_producer` sends what may be lost, `board` has the circuits; None if no stage needs them.
    `resumed` is called for each open task that this worker takes, up to some of each partition.
    """

    app: App
    settings: Settings
    worker: str
    metrics: Metrics
    objects: Objects
    best_effort_producer: BestEffortProducer | None = None
    board: CircuitBreakers | None = None
    resumed: Report = log_resumed


def _intake(shared: Resources) -> Runner:
    from segue.processors.stages.intake import Intake

    stage = PureStage("intake", lambda _: Intake(shared.app, shared.settings.limits))
    return PureRunner(stage, shared.settings, shared.worker, shared.metrics)


def _conduct(shared: Resources) -> Runner:
    """Old logs are handled again without limits of tenants: a task that waited for its turn does so again."""
    from segue.processors.stages.conduct import Conduct

    app, limits, objects = shared.app, shared.settings.limits, shared.objects
    unlimited = replace(limits, open_tasks_per_tenant_max=None, waiting_tasks_per_tenant_max=None)
    stage = PureStage(
        "conduct",
        lambda state: Conduct(app, state, random.Random, limits, references=objects),
        lingers=True,
        make_again=lambda state, waited: Conduct(
            app, state, random.Random, unlimited, references=objects, silent=True, waited=waited
        ),
        on_taken=partial(report_resumed, shared.resumed),
    )
    local = local_calls(app, shared.metrics, objects) if app.local else None
    return PureRunner(stage, shared.settings, shared.worker, shared.metrics, local, objects)


def _model(shared: Resources) -> Runner:
    from segue.streams.executors.model import ModelExecutor

    app, executor = shared.app, ModelExecutor(shared.app)
    throttle, measured = _throttle("model", shared), Measured()
    steps: list[Step] = [
        *_before_attempts(shared, throttle, measured),
        *([Stream(shared.best_effort_producer)] if shared.best_effort_producer is not None else []),
        *attempt("model", shared.metrics, shared.objects, measured),
    ]
    calls = CallPipeline(app, executor, steps, execute_model(executor))
    return _effects(EffectStage("model", calls, shared.settings.model_calls_max, throttle), shared)


def _tool(shared: Resources) -> Runner:
    from segue.streams.executors.tool import ToolExecutor

    app = shared.app
    executor = ToolExecutor(app, threads_max=shared.settings.tool_threads_max)
    throttle, measured = _throttle("tool", shared), Measured()
    steps = [
        *_before_attempts(shared, throttle, measured),
        *attempt("tool", shared.metrics, shared.objects, measured),
    ]
    calls = CallPipeline(app, executor, steps, execute(executor))
    return _effects(EffectStage("tool", calls, shared.settings.tool_calls_max, throttle), shared)


def _check(shared: Resources) -> Runner:
    """Checks are code of the app's own: they have no candidates, and so no circuits or limits."""
    from segue.streams.executors.check import CheckExecutor

    app, executor = shared.app, CheckExecutor(shared.app)
    steps = attempt("check", shared.metrics, shared.objects)
    calls = CallPipeline(app, executor, steps, execute_checks(executor))
    return _effects(EffectStage("check", calls, shared.settings.tool_calls_max), shared)


def _recover(shared: Resources) -> Runner:
    from segue.processors.stages.recover import Recover

    stage = PureStage("recover", lambda _: Recover(shared.app))
    return PureRunner(stage, shared.settings, shared.worker, shared.metrics)


def _delay(shared: Resources) -> Runner:
    from segue.processors.stages.delay import Delays

    return PureRunner(PureStage("delay", Delays), shared.settings, shared.worker, shared.metrics)


def _health(shared: Resources) -> Runner:
    from segue.streams.engine.health_stage import HealthRunner

    assert shared.app.circuit_breaker is not None
    return HealthRunner(shared.app.circuit_breaker, shared.settings, shared.worker, shared.metrics)


STAGES: Mapping[str, Callable[[Resources], Runner]] = {
    "intake": _intake,
    "conduct": _conduct,
    "model": _model,
    "tool": _tool,
    "check": _check,
    "recover": _recover,
    "delay": _delay,
    "health": _health,
}

ALL_STAGES = tuple(STAGES)


def extras_of(app: App, stages: Collection[str]) -> set[str]:
    """Return the extras that calls of these stages need. A worker without them would fail tasks."""
    routes = (route for route in app.routes.values() if route.kind in stages)
    candidates: Iterator[Any] = (candidate for route in routes for candidate in route.candidates)
    return {extra for candidate in candidates if (extra := _extra_of(candidate)) is not None}


def _extra_of(candidate: Any) -> str | None:
    match candidate:
        case str():
            return extra_of_model(candidate)
        case McpTool():
            return "mcp"
        case OpenApiTool():
            return "openapi"
        case _:
            return None


def local_calls(app: App, metrics: Metrics, objects: Objects) -> LocalCalls:
    """The calls of tools that are made where their workflow runs: no choice and no limit concerns them."""
    from segue.streams.executors.tool import ToolExecutor

    executor = ToolExecutor(app)
    calls = CallPipeline(app, executor, attempt("tool", metrics, objects), execute(executor))
    return LocalCalls(app, calls)


def _before_attempts(shared: Resources, throttle: CallThrottle | None, measured: Measured) -> list[Step]:
    """The steps of calls that have candidates. A circuit may open while a call waits for its limits."""
    choose = CandidateSelector(shared.app, shared.board or measured)
    limit: list[Step] = [throttle] if throttle is not None else []
    if shared.board is None:
        return [choose, *limit]
    circuit = CircuitSteps(shared.app, shared.board)
    return [choose, circuit.skip, *limit, circuit.skip, circuit.count]


def _effects(stage: EffectStage, shared: Resources) -> Runner:
    return EffectRunner(stage, shared.settings, shared.worker, shared.metrics)


def _throttle(name: str, shared: Resources) -> CallThrottle | None:
    if not shared.app.limits:
        return None
    throttle = CallThrottle(name, shared.app, shared.settings)
    for limit in throttle.limits:
        shared.metrics.limit_wait(name, limit, partial(throttle.waited_s, limit))
    return throttle
