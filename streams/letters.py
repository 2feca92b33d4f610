"""What a dead letter says: why and where its record failed, and the record's bytes as text."""

from typing import Any

from streams.when import moment_of
from topics import codec
from topics.errors import BadRecord
from topics.flow import Received
from topics.records import AttemptFailed


def topic_of(letter: Received) -> str:
    """The one that its record came from."""
    return _headers(letter).get("segue-topic", "?")


def was_told(letter: Received) -> bool:
    """Is it of a step that failed for good? Its workflow knows, and fed again it would be one letter more."""
    told = document(letter)
    failed = _failed(told["topic"], letter.value)
    return failed is not None and told["reason"].startswith(f"{failed.call.route}: ")


def traceback_of(topic: str, value: bytes | None) -> str | None:
    """Of a failed attempt, where the code of a tool or model raised: as JSON its lines can't be read."""
    failed = _failed(topic, value)
    return failed.problem.traceback if failed else None


def _failed(topic: str, value: bytes | None) -> AttemptFailed | None:
    if topic != "failures":
        return None
    try:
        failed: AttemptFailed = codec.decode(topic, value)
    except BadRecord:
        return None
    return failed


def document(letter: Received) -> dict[str, Any]:
    headers = _headers(letter)
    return {
        "letter": f"{letter.partition}:{letter.offset}",
        "at": moment_of(letter.timestamp_ms),
        "topic": headers.pop("segue-topic", "?"),
        "partition": headers.pop("segue-partition", "?"),
        "offset": headers.pop("segue-offset", "?"),
        "stage": headers.pop("segue-stage", "?"),
        "task": headers.pop("segue-task", (letter.key or b"").decode(errors="replace")),
        "reason": headers.pop("segue-reason", "?"),
        "headers": {name: value for name, value in headers.items() if not name.startswith("segue-")},
        "value": (letter.value or b"").decode(errors="replace"),
    }


def _headers(letter: Received) -> dict[str, str]:
    return {name: value.decode(errors="replace") for name, value in letter.headers}
