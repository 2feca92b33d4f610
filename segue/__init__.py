"""Segue: durable orchestration of models, tools and people, as a stream pipeline on Apache Kafka.

All that an application needs. The stages are in `segue.processors`, their wiring in `segue.streams`.
"""

from typing import TYPE_CHECKING, Any

from segue.processors.app.app import App, Check, Service, Workflow, check, workflow
from segue.processors.app.schedules import Schedule
from segue.processors.payloads.blob import Blob
from segue.processors.routing.circuit_breaker import Circuits
from segue.processors.routing.openapi import OpenApi
from segue.processors.routing.pricing import Price
from segue.processors.routing.rate_limits import Limit
from segue.processors.routing.routes import (
    McpServer,
    ModelCandidate,
    ModelRoute,
    Policy,
    Tool,
    ToolRoute,
    tool,
)
from segue.processors.routing.selection import Asked, Chosen, Known, by_size, cheapest, fastest, healthiest
from segue.processors.stages.attempt import Attempt, current_attempt
from segue.processors.stages.judge import judge
from segue.processors.workflow.parking import BUGS
from segue.processors.workflow.saga import Saga
from segue.processors.workflow.task import Task
from segue.topics.errors import (
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
from segue.topics.parts import Budget, Refusal, Spent
from segue.topics.records import Option, Problem, Result, Status

if TYPE_CHECKING:
    from segue.streams.client.client import Client

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
    from segue.streams.client.client import Client  # noqa: PLC0415 - the point of it

    return Client
