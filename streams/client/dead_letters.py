"""What a dead letter says: why and where its record failed, and the record's bytes as text."""

from contextlib import suppress
from typing import Any

from segue.processors.stages.put_aside import CALLS
from segue.processors.workflow.outcomes import letter_reason
from segue.streams.client.local_time import moment_of
from segue.topics import codec
from segue.topics.errors import BadRecord
from segue.topics.flow import TOLD, Received, first_place
from segue.topics.records import AttemptFailed, Origin, StepFailed


def topic_of(letter: Received) -> str:
    """The one that its record came from."""
    return _headers(letter).get("segue-topic", "?")


def place_of(letter: Received) -> Origin:
    """Return where the record stood first that the letter is about."""
    headers = _headers(letter)
    partition, offset = headers.get("segue-partition", ""), headers.get("segue-offset", "")
    if not (partition.isdecimal() and offset.isdecimal()):
        return first_place(letter)
    return first_place(letter._replace(topic=topic_of(letter), partition=int(partition), offset=int(offset)))


Age = tuple[int, int, int]
"""When a letter was written, and where it stands."""


class NewestOfEach:
    """Tells apart the newest letter of each record: one that was sent again and failed again has several.

    Of each record it holds the place of its newest letter alone.
    """

    def __init__(self) -> None:
        self._newest: dict[bytes, Age] = {}

    def __len__(self) -> int:
        return len(self._newest)

    def add(self, letter: Received) -> bytes | None:
        """Return by what the record is known; None if it has a newer letter."""
        known_as, age = _known_as(letter), _age(letter)
        if age < self._newest.get(known_as, age):
            return None
        self._newest[known_as] = age
        return known_as

    def __contains__(self, letter: Received) -> bool:
        """Return whether it is the newest of its record, of all that were added."""
        return self._newest.get(_known_as(letter)) == _age(letter)


class Newest:
    """Holds the newest letters, `most` of them, each of another record; `among` counts the records.

    A record whose letter had to go does not come back: `most` others have newer ones.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._held: dict[bytes, Received] = {}
        self.among = NewestOfEach()

    def add(self, letter: Received, *, whole: bool = True) -> None:
        """Without its value, if not `whole`."""
        if (known_as := self.among.add(letter)) is not None:
            self._held[known_as] = letter if whole else letter._replace(value=b"")
            if len(self._held) > self._most:
                del self._held[min(self._held, key=lambda each: _age(self._held[each]))]

    @property
    def letters(self) -> list[Received]:
        """The newest first."""
        return sorted(self._held.values(), key=_age, reverse=True)


def _age(letter: Received) -> Age:
    return letter.timestamp_ms, letter.offset, letter.partition


def _known_as(letter: Received) -> bytes:
    place = _sent_as(letter)
    return f"{place.topic}/{place.partition}/{place.offset}".encode()


def _sent_as(letter: Received) -> Origin:
    """Return where the record stood that came from outside: an event that was made of it names it."""
    if topic_of(letter) == "events":
        with suppress(BadRecord):
            origin: Origin | None = getattr(codec.decode("events", letter.value), "origin", None)
            return origin or place_of(letter)
    return place_of(letter)


def reason_of(letter: Received) -> str:
    return _headers(letter).get("segue-reason", "?")


def is_call(letter: Received) -> bool:
    """Return whether its record may lead to a call, which is of no use once the task has ended."""
    return topic_of(letter) in CALLS


def task_of(letter: Received) -> str:
    return _headers(letter).get("segue-task", (letter.key or b"").decode(errors="replace"))


def was_told(letter: Received) -> bool:
    """Return whether it is of a step that failed for good: its workflow knows that already."""
    if TOLD in _headers(letter):
        return True
    failed = _failed(topic_of(letter), letter.value)
    return isinstance(failed, StepFailed) and reason_of(letter) == letter_reason(failed)


def traceback_of(topic: str, value: bytes | None) -> str | None:
    """Return where the code of a tool or model raised: as JSON its lines can't be read."""
    failed = _failed(topic, value)
    return failed.problem.traceback if failed else None


def _failed(topic: str, value: bytes | None) -> AttemptFailed | StepFailed | None:
    if topic not in ("failures", "events"):
        return None
    try:
        failed = codec.decode(topic, value)
    except BadRecord:
        return None
    return failed if isinstance(failed, AttemptFailed | StepFailed) else None


def document(letter: Received) -> dict[str, Any]:
    headers = _headers(letter)
    return {
        "letter": f"{letter.partition}:{letter.offset}",
        "at": moment_of(letter.timestamp_ms),
        "topic": headers.pop("segue-topic", "?"),
        "partition": headers.pop("segue-partition", "?"),
        "offset": headers.pop("segue-offset", "?"),
        "stage": headers.pop("segue-stage", "?"),
        "task": headers.pop("segue-task", task_of(letter)),
        "reason": headers.pop("segue-reason", "?"),
        "headers": {name: value for name, value in headers.items() if not name.startswith("segue-")},
        "value": (letter.value or b"").decode(errors="replace"),
    }


def _headers(letter: Received) -> dict[str, str]:
    return {name: value.decode(errors="replace") for name, value in letter.headers}
