"""The calls of an effect stage without circuits, limits and streams."""

from typing import Any

from segue.processors.app.app import App
from segue.streams.calls.calls import CallPipeline, attempt
from segue.streams.calls.candidate_selection import CandidateSelector
from segue.streams.calls.candidate_stats import Measured
from segue.streams.calls.context import Step
from segue.streams.calls.steps import execute, execute_checks, execute_model
from segue.streams.observability.metrics import Metrics


def pipeline(stage: str, app: App, executor: Any, metrics: Metrics) -> CallPipeline:
    if stage == "check":
        return CallPipeline(app, executor, attempt(stage, metrics), execute_checks(executor))
    measured = Measured()
    last = execute_model(executor) if stage == "model" else execute(executor)
    steps: list[Step] = [CandidateSelector(app, measured), *attempt(stage, metrics, measured=measured)]
    return CallPipeline(app, executor, steps, last)
