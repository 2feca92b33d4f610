"""Segue: durable orchestration of models, tools and people, as a stream pipeline on Apache Kafka.

All that an application needs. The stages are in `processors`, their wiring in `streams`.
"""

# ruff: noqa: E402 - the check comes first
from segue.packages import check_that_none_is_shadowed

check_that_none_is_shadowed()

from processors.app import App, Check, Service, Workflow, check, workflow
from processors.attempt import Attempt, current_attempt
from processors.blob import Blob
from processors.choice import Asked, Chosen, Known, by_size, cheapest, fastest, healthiest
from processors.health import Circuits
from processors.judge import judge
from processors.openapi import OpenApi
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
    Unavailable,
    UnknownName,
)
from topics.parts import Budget, Refusal, Spent
from topics.records import Option, Problem, Result, Status

__all__ = [
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
