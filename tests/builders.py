"""Records with defaults, so that a test names only what it is about."""

from typing import Any

from topics import codec
from topics.flow import Decision, Headers, Publish, Received
from topics.records import (
    AttemptFailed,
    CallModel,
    CallTool,
    Critique,
    Problem,
    Record,
    StepSucceeded,
    Submitted,
)

NOW_MS = 1_790_000_000_000


def received(
    topic: str, value: Record | bytes | None, key: bytes | None = b"t", headers: Headers = ()
) -> Received:
    body = codec.encode(value) if isinstance(value, Record) else value
    return Received(topic, 0, 7, key, body, headers, NOW_MS)


def problem(message: str = "no", **facts: Any) -> Problem:
    return Problem(type="Retryable", message=message, **facts)


def call_tool(**facts: Any) -> CallTool:
    given: dict[str, Any] = {
        "route": "search",
        "arguments": {},
        "workflow": "w",
        "print": "p",
        "at_ms": NOW_MS,
    }
    return CallTool(**{"task": "t", "step": 0, **given, **facts})


def call_model(**facts: Any) -> CallModel:
    given: dict[str, Any] = {
        "route": "rank",
        "prompt": "which?",
        "workflow": "w",
        "print": "p",
        "at_ms": NOW_MS,
    }
    return CallModel(**{"task": "t", "step": 0, **given, **facts})


def failure(call: CallModel | CallTool | None = None, **facts: Any) -> AttemptFailed:
    given: dict[str, Any] = {
        "call": call or call_tool(),
        "by": "first",
        "problem": problem(),
        "at_ms": NOW_MS,
    }
    return AttemptFailed(**{"task": "t", **given, **facts})


def critique(reason: str = "too long") -> Critique:
    return Critique(output="x", reason=reason)


def submitted(workflow: str, value: Any = None, task: str = "t") -> Submitted:
    return Submitted(task=task, workflow=workflow, version=1, input=value, at_ms=NOW_MS)


def succeeded(step: int, print_: str, result: Any = None, task: str = "t", attempt: int = 1) -> StepSucceeded:
    return StepSucceeded(task=task, step=step, print=print_, result=result, attempt=attempt, at_ms=NOW_MS)


def published(decision: Decision, topic: str) -> list[Any]:
    return [each.value for each in decision.publish if each.topic == topic]


def reason(publish: Publish) -> str:
    return dict(publish.headers)["segue-reason"].decode()
