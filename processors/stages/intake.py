"""Stage `intake`: checks records from outside, which become events or dead letters.

    tasks   ─▶ intake ─▶ events         submitted, or rejected with the reason (and a dead letter)
    signals ─▶ intake ─▶ events         answered, signal received, cancel requested

A task request is JSON (`TaskRequest`) or a CloudEvent, structured or binary: its `type` is the workflow, its
`id` the task's, its `data` the input. Source: CloudEvents 1.0.2, Kafka protocol binding.
"""

from typing import Any

from pydantic import ValidationError
from pydantic_core import from_json, to_json

from segue.processors.definitions.registry import Registry
from segue.processors.limits import LIMITS, Limits
from segue.processors.payloads.blob import as_data
from segue.processors.routing.budget import BUDGET_SIGNAL, budget_in, strictest
from segue.processors.stages.put_aside import claimed_tenant
from segue.topics import codec
from segue.topics.contracts import PAYLOAD_BYTES_MAX
from segue.topics.errors import BadInput, BadRecord, UnknownName
from segue.topics.flow import Decision, Publish, Received, Stage, dead_letter, first_place
from segue.topics.parts import ABSENT
from segue.topics.records import (
    Answer,
    Answered,
    Cancel,
    CancelRequested,
    Problem,
    Rejected,
    Signal,
    SignalReceived,
    SignalRecord,
    Submitted,
    TaskRequest,
)


class Intake(Stage):
    def __init__(
        self, registry: Registry, limits: Limits = LIMITS, payload_bytes_max: int = PAYLOAD_BYTES_MAX
    ) -> None:
        self._registry = registry
        self._limits = limits
        self._payload_bytes_max = payload_bytes_max

    def handle(self, record: Received, now_ms: int) -> Decision:
        try:
            self._weigh(record)
            if record.topic == "tasks":
                return self._request(record, now_ms)
            return _signal(codec.decode(record.topic, record.value), record, now_ms)
        except BadRecord as bad:
            letter = dead_letter(record, "intake", str(bad), now_ms)
            return Decision([letter], tenant=claimed_tenant(record))

    def _weigh(self, record: Received) -> None:
        size = len(record.value or b"")
        if size > self._payload_bytes_max:
            limit = f"{self._payload_bytes_max} (payload_bytes_max)"
            raise BadRecord(f"{size} bytes are more than {limit}: send a reference to the data instead")
        if codec.too_deep(record.value or b""):
            raise BadRecord(f"lists and objects are nested deeper than {codec.DEPTH_MAX}")

    def _request(self, record: Received, now_ms: int) -> Decision:
        request = (
            _cloud_event(record) if _is_cloud_event(record) else codec.decode(record.topic, record.value)
        )
        task = _task_id(request, record)
        facts: dict[str, Any] = {"task": task, "workflow": request.workflow, "at_ms": now_ms}
        facts["origin"] = first_place(record)
        try:
            workflow = self._registry.workflow(request.workflow, request.version)
            codec.json_of(given := workflow.validate(_readable(request)))
        except (UnknownName, ValidationError, BadInput) as error:
            why = _why_not(request, error)
            problem = Problem(type="BadInput", message=why, retryable=False)
            rejected = Publish("events", task, Rejected(**facts, problem=problem))
            letter = dead_letter(record, "intake", why, now_ms, task)
            return Decision([rejected, letter], tenant=request.tenant)
        submitted = Submitted(
            **facts,
            version=workflow.version,
            input=given,
            validated=True,
            tenant=request.tenant,
            priority=request.priority,
            steps_max=self._limits.steps_max,
            pending_steps_max=self._limits.pending_steps_max,
            budget=strictest(workflow.budget, request.budget, self._limits.budget(request.tenant)),
        )
        return Decision([Publish("events", task, submitted)], tenant=request.tenant)


def _readable(request: TaskRequest) -> Any:
    """The input as a record holds it. Raises `BadInput` for what JSON can't hold, though it was read."""
    if request.input is ABSENT:
        return ABSENT
    codec.json_of(request.input)
    return request.input if request.by_reference else as_data(request.input)


def _why_not(request: TaskRequest, error: Exception) -> str:
    if isinstance(error, UnknownName):
        return str(error)
    return f"the input does not fit workflow {request.workflow!r}: {codec.explain(error)}"


def _task_id(request: TaskRequest, record: Received) -> str:
    if request.id is not None:
        return request.id
    if not record.key:
        raise BadRecord("the task has no id: give the record a key, or its JSON an 'id'")
    try:
        return TaskRequest(id=record.key.decode(), workflow=request.workflow).id or ""
    except UnicodeDecodeError:
        raise BadRecord("the record's key, which is the task's id, is not UTF-8") from None
    except ValidationError as error:
        raise BadRecord(f"the record's key can't be the task's id: {codec.describe(error)}") from None


def _signal(signal: SignalRecord, record: Received, now_ms: int) -> Decision:
    origin = first_place(record)  # a signal without an id that is sent again is the same one
    facts: dict[str, Any] = {"task": signal.task, "origin": origin, "at_ms": now_ms}
    facts["id"] = signal.id or f"{origin.topic}/{origin.partition}/{origin.offset}"
    event: Answered | CancelRequested | SignalReceived
    _check_value(signal)
    if isinstance(signal, Answer):
        event = Answered(**facts, step=signal.step, value=as_data(signal.value), by=signal.by)
    elif isinstance(signal, Cancel):
        event = CancelRequested(**facts, reason=signal.reason, force=signal.force)
    else:
        event = SignalReceived(**facts, name=signal.name, value=as_data(signal.value))
    return Decision([Publish("events", signal.task, event)])


def _check_value(signal: SignalRecord) -> None:
    try:
        if isinstance(signal, Answer | Signal):
            codec.json_of(signal.value)
        if isinstance(signal, Signal) and signal.name == BUDGET_SIGNAL:
            budget_in(signal.value)
    except BadInput as error:
        raise BadRecord(str(error)) from None


def _is_cloud_event(record: Received) -> bool:
    """By its headers, or, for a structured one that lost its content type, by its `specversion`."""
    for name, value in record.headers:
        if name.lower().startswith("ce_") or value.startswith(b"application/cloudevents"):
            return True
    return b'"specversion"' in (record.value or b"") and b'"workflow"' not in (record.value or b"")


def _cloud_event(record: Received) -> TaskRequest:
    from cloudevents.core.bindings.kafka import KafkaMessage, from_kafka  # noqa: PLC0415 - only who needs it loads it
    from cloudevents.core.formats.json import JSONFormat  # noqa: PLC0415

    try:
        event = from_kafka(KafkaMessage(dict(record.headers), None, record.value or b""), JSONFormat())
        data = event.get_data()
        given = from_json(data) if isinstance(data, bytes) else data
        request: dict[str, Any] = {"id": event.get_id(), "workflow": event.get_type()}
        request |= {} if given is None else {"input": given}
        return TaskRequest.model_validate_json(to_json(request))  # by JSON, which has no lone surrogates
    except ValidationError as error:
        raise BadRecord(f"this CloudEvent can't start a task: {codec.describe(error)}") from None
    except Exception as error:  # noqa: BLE001 - the library lets through whatever its parsers raise
        raise BadRecord(f"not a CloudEvent: {type(error).__name__}: {error}") from None
