"""Records with defaults, so that a test names only what it is about."""

from typing import Any

from segue.topics import codec
from segue.topics.flow import Decision, Headers, Publish, Received
from segue.topics.records import AttemptFailed, CallModel, CallTool, Critique, Problem, Record
from tests.driver import START_MS

NOW_MS = START_MS

_CALL: dict[str, Any] = {"task": "t", "step": 0, "workflow": "w", "fingerprint": "p", "at_ms": NOW_MS}


def received(
    topic: str, value: Record | bytes | None, key: bytes | None = b"t", headers: Headers = ()
) -> Received:
    body = codec.encode(value) if isinstance(value, Record) else value
    return Received(topic, 0, 7, key, body, headers, NOW_MS)


def problem(message: str = "no", **facts: Any) -> Problem:
    return Problem(type="Retryable", message=message, **facts)


def call_tool(**facts: Any) -> CallTool:
    given: dict[str, Any] = {**_CALL, "route": "search", "arguments": {}, **facts}
    return CallTool(**given)


def call_model(**facts: Any) -> CallModel:
    given: dict[str, Any] = {**_CALL, "route": "rank", "prompt": "which?", **facts}
    return CallModel(**given)


def failure(call: CallModel | CallTool | None = None, **facts: Any) -> AttemptFailed:
    given: dict[str, Any] = {"task": "t", "candidate": "first", "problem": problem(), "at_ms": NOW_MS}
    given["call"] = call or call_tool()
    return AttemptFailed(**(given | facts))


def critique(reason: str = "too long") -> Critique:
    return Critique(output="x", reason=reason)


def published(decision: Decision, topic: str) -> list[Any]:
    return [each.value for each in decision.publish if each.topic == topic]


def reason(publish: Publish) -> str:
    return dict(publish.headers)["segue-reason"].decode()
