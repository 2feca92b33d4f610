"""Segue: durable orchestration of models, tools and people, as a stream pipeline on Apache Kafka.

All that an application needs. The stages are in `processors`, their wiring in `streams`.
"""

# ruff: noqa: E402 - the check comes first
from typing import TYPE_CHECKING, Any

from segue.packages import check_that_none_is_shadowed

check_that_none_is_shadowed()

from processors.app import App, Check, Service, Workflow, check, workflow
from processors.attempt import Attempt, current_attempt
from processors.blob import Blob
from processors.choice import Asked, Chosen, Known, by_size, cheapest, fastest, healthiest
from processors.health import Circuits
from processors.judge import judge
from processors.openapi import OpenApi
from processors.parking import BUGS
from processors.prices import Price
from processors.quotas import Limit
from processors.routes import McpServer, ModelCandidate, ModelRoute, Policy, Tool, ToolRoute, tool
from processors.saga import Saga
from processors.schedules import Schedule
from processors.task import Task
from topics.errors import (
    BadInput,
    BadRecord,
    BudgetExceeded,
    Permanent,
    Refused,
    Retryable,
    SegueError,
    StepError,
    TaskFailed,
    Unavailable,
    UnknownName,
)
from topics.parts import Budget, Refusal, Spent
from topics.records import Option, Problem, Result, Status

if TYPE_CHECKING:
    from streams.gateway import Client

__all__ = [
    "BUGS",
    "App",
    "Asked",
    "Attempt",
    "BadInput",
    "BadRecord",
    "Blob",
    "Budget",
    "BudgetExceeded",
    "Check",
    "Chosen",
    "Circuits",
    "Client",
    "Known",
    "Limit",
    "McpServer",
    "ModelCandidate",
    "ModelRoute",
    "OpenApi",
    "Option",
    "Permanent",
    "Policy",
    "Price",
    "Problem",
    "Refusal",
    "Refused",
    "Result",
    "Retryable",
    "Saga",
    "Schedule",
    "SegueError",
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


def __getattr__(name: str) -> Any:
    """`Client` is loaded when it is first used: workflows need nothing that speaks to Kafka."""
    if name != "Client":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from streams.gateway import Client  # noqa: PLC0415 - the point of it

    return Client
