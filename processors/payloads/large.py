"""Move values that are too large for a record to the object store, and put references in their place.

    a command, a child's input, a result ─▶ too large ─▶ the record with references, and the objects' bytes

Which object it is follows from its bytes, so a workflow that is played again refers to the same one. The
runner stores the objects before it commits the record: no reference dangles, and a crash between leaves at
most an object that nothing refers to, which expires with its task.

An agent's conversation grows at its end. Its JSON is cut into pieces of a fixed size, of which all but the
last are the same with the next request, and so are stored once.
"""

from typing import Any, Protocol, TypeVar

from pydantic_core import to_jsonable_python

from segue.processors.payloads.blob import JSON, RECORD_JSON, Blob
from segue.topics import codec
from segue.topics.codec import json_of
from segue.topics.contracts import PAYLOAD_BYTES_MAX
from segue.topics.errors import TooLarge
from segue.topics.flow import StoredObject
from segue.topics.records import AgentOperation, CallModel, CallTool, Submitted

HELD_BYTES_MAX = 16 * 1024 * 1024
"""What a workflow may pass on at once. It has it in memory, and so may thousands of tasks."""

PIECE_BYTES = 512 * 1024
"""Of an agent's conversation: the last piece is stored with each request."""

SMALL_BYTES = 1_000
"""What is smaller stays in its record: a reference is hardly smaller."""

Command = TypeVar("Command", CallModel, CallTool, Submitted)

Objects = tuple[StoredObject, ...]


class References(Protocol):
    """Names the objects of a store, and does not touch it."""

    @property
    def payload_bytes_max(self) -> int:
        """The largest value that stands in a record itself."""
        ...

    def reference(self, task: str, tenant: str | None, body: bytes, media_type: str) -> Blob:
        """The reference to these bytes as a value of the task, once they are stored."""
        ...


class Large:
    """Makes what a task of that tenant publishes fit. Without `references` what is too large is refused."""

    def __init__(self, references: References | None, tenant: str | None) -> None:
        self._references = references
        self._tenant = tenant
        self.held_bytes_max = PAYLOAD_BYTES_MAX if references is None else HELD_BYTES_MAX

    def command(self, record: Command, size_bytes: int) -> tuple[Command, Objects]:
        """A record that asks with so many bytes, and what it refers to then.

        Raises `TooLarge` if what can't be referred to fits no record.
        """
        if self._references is None or size_bytes <= self._references.payload_bytes_max:
            return record, ()
        taking = _Taking(self._references, record.task, self._tenant)
        fitting = record.model_copy(update=taking.changes(record))
        if (size := len(codec.encode(fitting))) > PAYLOAD_BYTES_MAX:
            raise TooLarge(
                f"a {record.kind} has {size:,} bytes that can't go to the object store (instructions, for "
                f"example), but a record holds at most {PAYLOAD_BYTES_MAX:,}: pass large text as the "
                "prompt or as an argument"
            )
        return fitting, tuple(taking.objects)

    def value(self, task: str, value: Any, beside_bytes: int = 0) -> tuple[Any, Objects]:
        """A JSON value that stands in a record beside so many bytes, and what it refers to then."""
        if self._references is None:
            return value, ()
        if len(json_of(value)) + beside_bytes <= self._references.payload_bytes_max:
            return value, ()
        taking = _Taking(self._references, task, self._tenant)
        return taking.value(value), tuple(taking.objects)


class _Taking:
    """Takes values out of one record of `task`."""

    def __init__(self, references: References, task: str, tenant: str | None) -> None:
        self._references = references
        self._task = task
        self._tenant = tenant
        self.objects: list[StoredObject] = []

    def changes(self, record: CallModel | CallTool | Submitted) -> dict[str, Any]:
        match record:
            case Submitted():
                return {"input": self.value(record.input)}
            case CallTool():
                return {"arguments": self._values(record.arguments), "agent": self._operation(record.agent)}
            case CallModel():
                checks = tuple(
                    check.model_copy(update={"arguments": self._values(check.arguments)})
                    for check in record.checks
                )
                return {
                    "prompt": self.value(record.prompt),
                    "checks": checks,
                    "agent": self._operation(record.agent),
                }

    def value(self, value: Any) -> Any:
        """A value of a record, with the references and marks that are in it."""
        body = json_of(value)
        return value if len(body) <= SMALL_BYTES else self._stored(body, RECORD_JSON)

    def _values(self, values: dict[str, Any]) -> dict[str, Any]:
        return {name: self.value(value) for name, value in values.items()}

    def _operation(self, asked: AgentOperation | None) -> AgentOperation | None:
        """What an agent gives has no references in it: it is data, whatever it looks like."""
        if asked is None:
            return None
        bodies = {name: json_of(value) for name, value in asked.body.items()}
        large = {name: self._pieces(body) for name, body in bodies.items() if len(body) > SMALL_BYTES}
        small = {name: value for name, value in asked.body.items() if name not in large}
        return asked.model_copy(update={"body": small, "large": large})

    def _pieces(self, body: bytes) -> tuple[dict[str, Any], ...]:
        starts = range(0, len(body), PIECE_BYTES)
        return tuple(self._stored(body[start : start + PIECE_BYTES], JSON) for start in starts)

    def _stored(self, body: bytes, media_type: str) -> dict[str, Any]:
        blob = self._references.reference(self._task, self._tenant, body, media_type)
        self.objects.append(StoredObject(blob.object, blob.key, self._tenant, body))
        reference: dict[str, Any] = to_jsonable_python(blob)
        return reference
