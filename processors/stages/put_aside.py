"""Put aside a record that a stage can't process: it goes to the dead letters, and its task gets an event.

    record ─▶ stage ✗ ─┬▶ dead-letters      its bytes, with the reason
                       └▶ events            the step that it was for has failed; a request is rejected; what
                                            is encrypted or of a newer worker, and a timer, parks its task

Without the event, the task would wait without end. The task of a record can be found even if the rest of the
record can't be read. If nothing can be read, no task gets an event, because any program may write invalid
bytes. The stage `conduct` handles records on `events`: see `Conduct.put_aside`.
"""

import json
from collections.abc import Iterator
from typing import Any, Protocol, cast, runtime_checkable

from pydantic import BaseModel

from segue.processors.workflow.parking import PUT_ASIDE
from segue.topics import codec
from segue.topics.envelope import Clear, why_not_read
from segue.topics.errors import BadRecord
from segue.topics.flow import TOLD, Decision, Publish, Received, dead_letter
from segue.topics.records import (
    VERSION,
    Number,
    Origin,
    Problem,
    PutAside,
    Rejected,
    StepFailed,
    TaskId,
    TaskRequest,
    Tenant,
)

CALLS = ("model-calls", "tool-calls", "checks", "failures", "delays")
"""Topics whose records a task waits for."""

INTERNAL = (*CALLS, "events")

SEND_AGAIN = "correct its cause and send the record again, or cancel the task"
BEGIN_AGAIN = "correct its cause and, if the task fails because of it, start the task again under another id"
"""The advice where the task waits for the record, and where its step has failed."""

DIGITS_MAX = 20

TIMER = "timer_fired"

PARTS = ("call", "record")
"""Where the call is in a record that carries one."""


@runtime_checkable
class PutsAside(Protocol):
    """A stage that has more to do about a record than the others."""

    def put_aside(self, record: Received | None, reason: str, now_ms: int) -> Decision | None:
        """What follows where no decision on a record came about, or none of the last tick (`record` is None).

        The stage goes on from its state alone: its memory may be half changed. None: see `put_aside`.
        """
        ...


class _Step(BaseModel):
    """What any record about a step says."""

    v: Any = VERSION
    kind: str = ""
    task: TaskId
    step: Number
    fingerprint: str
    attempt: Number = 1
    route: str | None = None

    @property
    def is_newer(self) -> bool:
        """Written by a newer worker: one is there that can read it."""
        return isinstance(self.v, int) and self.v > VERSION


def put_aside(record: Received, stage: str, reason: str, now_ms: int) -> Decision:
    if isinstance(record.value, Clear):  # it may be forged: nothing follows from it
        return Decision([dead_letter(record, stage, reason, now_ms)])
    told = list(_notices(record, stage, reason, now_ms))
    task = told[0].key if told else None
    letter = dead_letter(record, stage, reason, now_ms, task)
    if any(isinstance(each.value, StepFailed) for each in told):
        letter = letter._replace(headers=(*letter.headers, (TOLD, b"step_failed")))
    return Decision([letter, *told], tenant=claimed_tenant(record))


def claimed_tenant(record: Received) -> str | None:
    """Return the tenant that a request names in its body, even one that is wrong otherwise.

    None: as the record's header says, which is so for all other records.
    """
    if record.topic != "tasks":
        return None
    try:
        return _Claim.model_validate_json(record.value or b"").tenant
    except ValueError:
        return None


def handled(stage: object, name: str, record: Received | None, reason: str, now_ms: int) -> Decision | None:
    """What follows in that stage; None for a tick of which it does not know what to pass over."""
    decision = stage.put_aside(record, reason, now_ms) if isinstance(stage, PutsAside) else None
    return put_aside(record, name, reason, now_ms) if decision is None and record is not None else decision


def problem_of(stage: str, reason: str, advice: str = SEND_AGAIN) -> Problem:
    message = f"stage {stage!r} can't process a record: {reason}. The record is in the dead letters: {advice}"
    return Problem(type=PUT_ASIDE, message=message, retryable=False)


def _notices(record: Received, stage: str, reason: str, now_ms: int) -> Iterator[Publish]:
    if record.topic == "tasks":
        yield from _rejected(record, reason, now_ms)
    problem = problem_of(stage, reason)
    step = _step(record) if record.topic in CALLS else None
    if step is not None and step.kind != TIMER and not step.is_newer:
        facts = step.model_dump(exclude={"kind", "v"})
        failed = problem_of(stage, reason, BEGIN_AGAIN)
        yield Publish("events", step.task, StepFailed(**facts, problem=failed, candidate=stage, at_ms=now_ms))
    elif (task := _waiting(record, step)) is not None:
        known_as = f"{record.topic}/{record.partition}/{record.offset}"
        yield Publish("events", task, PutAside(task=task, id=known_as, problem=problem, at_ms=now_ms))


def _waiting(record: Received, step: "_Step | None") -> str | None:
    """Whose task waits for a record that may yet be processed: by a newer worker, or with its key."""
    if step is None:
        return _of_sealed(record)
    return step.task if step.is_newer else _of_timer(record)


def _rejected(record: Received, reason: str, now_ms: int) -> Iterator[Publish]:
    try:
        request: TaskRequest = codec.decode(record.topic, record.value)
        task = request.id or (record.key or b"").decode()
        origin = Origin(topic=record.topic, partition=record.partition, offset=record.offset)
        problem = problem_of("intake", reason)
        event = Rejected(task=task, workflow=request.workflow, problem=problem, origin=origin, at_ms=now_ms)
        yield Publish("events", task, event)
    except (BadRecord, ValueError):
        return


def _step(record: Received) -> _Step | None:
    """The step that the record is about, so far as it says that, whatever else is wrong with it."""
    try:
        body = json.loads(record.value or b"", parse_int=_whole)
        return _Step.model_validate(_call_in(body))
    except (ValueError, RecursionError):
        return None


def _whole(digits: str) -> int | None:
    """Numbers of thousands of digits, which Python refuses, hide no step."""
    return int(digits) if len(digits) <= DIGITS_MAX else None


def _call_in(body: Any) -> Any:
    if not isinstance(body, dict):
        return body
    parts = cast("dict[str, Any]", body)
    return next((parts[part] for part in PARTS if isinstance(parts.get(part), dict)), parts)


def _of_timer(record: Received) -> str | None:
    """Of one that can be read: Segue writes no other."""
    try:
        task: str = codec.decode(record.topic, record.value).task
    except BadRecord:
        return None
    return task


def _of_sealed(record: Received) -> str | None:
    """By its key: of a record that is encrypted, and whose key this worker has not."""
    if record.topic not in INTERNAL or why_not_read(record.value or b"") is None:
        return None
    try:
        return _Key.model_validate({"task": (record.key or b"").decode()}).task
    except ValueError:
        return None


class _Key(BaseModel):
    task: TaskId


class _Claim(BaseModel):
    tenant: Tenant | None = None
