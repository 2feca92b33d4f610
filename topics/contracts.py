"""The contracts of all topics: name, content and retention.

Topics are keyed by task id and co-partitioned: all records of a task are on the same partition number of each
topic, so one worker has the whole state of a task. Topics about the health of candidates are keyed by the
candidate. On a shared cluster, all names get a prefix (`SEGUE_TOPIC_PREFIX`).
"""

from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import Field

from segue.topics.health import Health, Tally
from segue.topics.records import (
    Answer,
    AttemptFailed,
    CallModel,
    CallTool,
    Cancel,
    CheckOutput,
    Delay,
    Event,
    Question,
    QuestionClosed,
    RecordsLost,
    Result,
    Signal,
    Status,
    TaskRequest,
)
from segue.topics.tokens import Tokens

STAGES = ("intake", "conduct", "model", "tool", "check", "recover", "delay", "health")
"""The stages of a worker, in the order of the pipeline."""

DAY_MS = 24 * 60 * 60 * 1000
FOREVER = -1

TOMBSTONES_KEPT_MS = 60 * 60 * 1000
"""How long a changelog keeps the tombstones of deleted entries. With Kafka's default of a day, a restore
would read the deletions of a day; a checkpoint that is older is not updated, but rebuilt."""

RECORD_BYTES_MAX = 1_000_000
"""Kafka refuses more by default (`message.max.bytes` 1,048,588); the rest is room for headers."""

PAYLOAD_BYTES_MAX = 900_000
"""The largest input, argument, question or result; its record may use the rest of a megabyte."""

OF_THE_ENGINE = b"\xff"
"""The keys of the engine's own entries in a stage's state begin with it."""

DEAD_LETTER_BYTES_MAX = 16 * 1024 * 1024
"""The whole of a record that is too large for its own topic must fit here."""


@dataclass(frozen=True)
class Topic:
    """A topic's contract. `type` is the type of its values; None for raw bytes."""

    name: str
    holds: str
    type: Any
    written_by: tuple[str, ...]
    read_by: tuple[str, ...]
    retention_ms: int = 7 * DAY_MS
    cleanup: Literal["delete", "compact"] = "delete"
    record_bytes_max: int = RECORD_BYTES_MAX
    followed_by: tuple[str, ...] = ()
    """Stages in which each worker reads all partitions, besides the partitions that its group assigns."""
    beside: bool = False
    """Records are written outside of transactions: they may be lost or duplicated, which affects no task."""
    plain: tuple[bytes, ...] = ()
    """The first bytes of keys of changelog entries that contain no data of records (`topics.flow.Plain`)."""


_Kinds = Field(discriminator="kind")

TASKS = Topic(
    "tasks", "requests that start a task, as JSON or CloudEvents", TaskRequest, ("outside",), ("intake",)
)
SIGNALS = Topic(
    "signals",
    "answers, cancellations and outside events for tasks",
    Annotated[Answer | Signal | Cancel, _Kinds],
    ("outside",),
    ("intake",),
)
EVENTS = Topic(
    "events",
    "the events of each task: its log, from which all task state is derived",
    Annotated[Event | RecordsLost, _Kinds],
    ("intake", "conduct", "model", "tool", "check", "recover", "delay"),
    ("conduct",),
    retention_ms=30 * DAY_MS,
)
MODEL_CALLS = Topic(
    "model-calls", "calls of models", CallModel, ("conduct", "model", "check", "recover", "delay"), ("model",)
)
TOOL_CALLS = Topic(
    "tool-calls", "calls of tools", CallTool, ("conduct", "tool", "recover", "delay"), ("tool",)
)
CHECKS = Topic("checks", "outputs to check", CheckOutput, ("model", "tool"), ("check",))
FAILURES = Topic(
    "failures", "attempts that failed", AttemptFailed, ("model", "tool", "check", "conduct"), ("recover",)
)
DELAYS = Topic("delays", "records to publish later", Delay, ("conduct", "recover"), ("delay",))
QUESTIONS = Topic(
    "questions",
    "questions to people, and records that close them",
    Annotated[Question | QuestionClosed, _Kinds],
    ("conduct",),
    ("outside",),
    retention_ms=30 * DAY_MS,
)
RESULTS = Topic(
    "results", "the result of each task", Result, ("conduct",), ("outside",), retention_ms=30 * DAY_MS
)
STATUS = Topic(
    "status",
    "the current status of each task",
    Status,
    ("conduct",),
    ("outside",),
    cleanup="compact",
    followed_by=("intake", "conduct"),
)
DEAD_LETTERS = Topic(
    "dead-letters",
    "records that could not be processed: the original bytes, with the reason in the headers",
    None,
    ("intake", "conduct", "model", "tool", "check", "recover", "delay"),
    ("outside",),
    retention_ms=90 * DAY_MS,
    record_bytes_max=DEAD_LETTER_BYTES_MAX,
)
CONDUCT_STATE = Topic(
    "conduct-state",
    "changelog of the journals of open tasks",
    None,
    ("conduct",),
    ("conduct",),
    cleanup="compact",
    plain=(b"P", b"E", b"L", b"B", b"O", b"T", b"V", b"W", OF_THE_ENGINE),
)
DELAY_STATE = Topic(
    "delay-state",
    "changelog of the delays that are not due yet",
    None,
    ("delay",),
    ("delay",),
    cleanup="compact",
    plain=(OF_THE_ENGINE,),
)
OUTCOMES = Topic(
    "outcomes",
    "counts of the outcomes of each candidate's calls, by worker",
    Tally,
    ("model", "tool"),
    ("health",),
    retention_ms=DAY_MS,
    beside=True,
)
HEALTH = Topic(
    "health",
    "the health of each candidate, and the state of its circuit",
    Health,
    ("health",),
    ("outside",),
    cleanup="compact",
    followed_by=("health", "model", "tool"),
    beside=True,
)
HEALTH_STATE = Topic(
    "health-state",
    "changelog of the counts within the window",
    None,
    ("health",),
    ("health",),
    cleanup="compact",
    beside=True,
)
TOKENS = Topic(
    "tokens",
    "the text of models, while they write it",
    Tokens,
    ("model",),
    ("outside",),
    retention_ms=DAY_MS,
    beside=True,
)

ALL = (
    TASKS,
    SIGNALS,
    EVENTS,
    MODEL_CALLS,
    TOOL_CALLS,
    CHECKS,
    FAILURES,
    DELAYS,
    QUESTIONS,
    RESULTS,
    STATUS,
    DEAD_LETTERS,
    CONDUCT_STATE,
    DELAY_STATE,
    OUTCOMES,
    HEALTH,
    HEALTH_STATE,
    TOKENS,
)
BY_NAME = {topic.name: topic for topic in ALL}

LOG_TOPICS = (
    "events",
    "model-calls",
    "tool-calls",
    "checks",
    "failures",
    "delays",
    "questions",
    "status",
    "results",
    "dead-letters",
)
"""The topics on which a task leaves records."""
"""The topics on which a task leaves its records."""
