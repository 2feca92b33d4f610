"""Segue: durable orchestration of models, tools and people, as a stream pipeline on Apache Kafka.

This module exports all names that an application needs. The stages are in `segue.processors`, and the code
that connects them to Kafka is in `segue.streams`. A name is imported when it is first used, so `segue --help`
imports none of them, and a workflow imports no Kafka client.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from segue.processors.app.app import App, Service
    from segue.processors.app.decorators import check, workflow
    from segue.processors.app.schedules import Schedule
    from segue.processors.definitions.bugs import BUGS
    from segue.processors.definitions.checks import Check, judge
    from segue.processors.definitions.workflow import Workflow
    from segue.processors.payloads.blob import Blob
    from segue.processors.routing.circuit_breaker import CircuitBreaker
    from segue.processors.routing.mcp import McpServer
    from segue.processors.routing.openapi import OpenApi
    from segue.processors.routing.policy import Policy
    from segue.processors.routing.pricing import Price
    from segue.processors.routing.rate_limits import Limit
    from segue.processors.routing.routes import ModelCandidate, ModelRoute, ToolRoute
    from segue.processors.routing.selection import (
        CallInfo,
        CandidateStats,
        Selection,
        by_size,
        cheapest,
        fastest,
        healthiest,
    )
    from segue.processors.routing.tools import Tool, tool
    from segue.processors.stages.attempt import Attempt, current_attempt
    from segue.processors.workflow.saga import Saga
    from segue.processors.workflow.task import Task
    from segue.streams.client.client import Client
    from segue.topics.errors import (
        BadInput,
        BadRecord,
        BudgetExceeded,
        OutputRejected,
        Permanent,
        Retryable,
        SegueError,
        StepError,
        TaskFailed,
        Unavailable,
        UnknownName,
    )
    from segue.topics.parts import Budget, Refusal, Spent
    from segue.topics.records import Option, Problem, Result, Status

__all__ = [
    "BUGS",
    "App",
    "Attempt",
    "BadInput",
    "BadRecord",
    "Blob",
    "Budget",
    "BudgetExceeded",
    "CallInfo",
    "CandidateStats",
    "Check",
    "CircuitBreaker",
    "Client",
    "Limit",
    "McpServer",
    "ModelCandidate",
    "ModelRoute",
    "OpenApi",
    "Option",
    "OutputRejected",
    "Permanent",
    "Policy",
    "Price",
    "Problem",
    "Refusal",
    "Result",
    "Retryable",
    "Saga",
    "Schedule",
    "SegueError",
    "Selection",
    "Service",
    "Spent",
    "Status",
    "StepError",
    "Task",
    "TaskFailed",
    "Tool",
    "ToolRoute",
    "Unavailable",
    "UnknownName",
    "Workflow",
    "by_size",
    "cheapest",
    "check",
    "current_attempt",
    "fastest",
    "healthiest",
    "judge",
    "tool",
    "workflow",
]

_NAMES = {
    "processors.app.app": "App Service",
    "processors.app.decorators": "check workflow",
    "processors.app.schedules": "Schedule",
    "processors.definitions.bugs": "BUGS",
    "processors.definitions.checks": "Check judge",
    "processors.definitions.workflow": "Workflow",
    "processors.payloads.blob": "Blob",
    "processors.routing.circuit_breaker": "CircuitBreaker",
    "processors.routing.mcp": "McpServer",
    "processors.routing.openapi": "OpenApi",
    "processors.routing.policy": "Policy",
    "processors.routing.pricing": "Price",
    "processors.routing.rate_limits": "Limit",
    "processors.routing.routes": "ModelCandidate ModelRoute ToolRoute",
    "processors.routing.selection": "CallInfo CandidateStats Selection by_size cheapest fastest healthiest",
    "processors.routing.tools": "Tool tool",
    "processors.stages.attempt": "Attempt current_attempt",
    "processors.workflow.saga": "Saga",
    "processors.workflow.task": "Task",
    "streams.client.client": "Client",
    "topics.errors": "BadInput BadRecord BudgetExceeded OutputRejected Permanent Retryable SegueError "
    "StepError TaskFailed Unavailable UnknownName",
    "topics.parts": "Budget Refusal Spent",
    "topics.records": "Option Problem Result Status",
}
"""The public names, by the module in which each is defined."""

_MODULES = {name: f"{__name__}.{module}" for module, names in _NAMES.items() for name in names.split()}


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = globals()[name] = getattr(import_module(_MODULES[name]), name)
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_MODULES})
