"""A blob: bytes of any size in the object store, known by a reference of a few hundred bytes.

    @tool
    async def scan(site: str) -> Blob:
        return await Blob.write(camera(site), "image/tiff")

    @tool
    async def count_trees(picture: Blob) -> int:
        async for chunk in picture.chunks(): ...

Records and the journal hold only the reference. A workflow passes it on and never has the bytes, because ten
thousand coroutines may be in memory at once. Tools, checks and clients write and read the bytes through
`TASK_OBJECTS`, which the worker sets.

A result that is not a blob but does not fit into a record becomes a blob automatically, a blob that is a
*value*: the workflow has its reference, and a tool or check that gets it as an argument gets the value.

Data that looks like such a reference is never treated as one. Only Segue writes references: in place of a
result or an input that did not fit, and for a `Blob` that a workflow passes on. Data from outside or from
user code that looks like a reference is marked (`as_data`) before it is put into a record, and the mark is
removed (`unmarked`) before user code gets the data.
"""

from collections import deque
from collections.abc import AsyncIterable, AsyncIterator, Iterable, Iterator, Mapping, Set
from contextvars import ContextVar
from typing import (
    TYPE_CHECKING,
    Annotated,
    Any,
    Literal,
    Protocol,
    TypeGuard,
    TypeVar,
    cast,
    runtime_checkable,
)

from pydantic import ConfigDict, Field, TypeAdapter
from pydantic.dataclasses import dataclass
from pydantic_core import from_json

from segue.topics.errors import BadInput

T = TypeVar("T")

JSON = "application/json"
ANYTHING = "application/octet-stream"

RECORD_JSON = "application/vnd.segue.record+json"
"""JSON as records have it: with references to other objects, and with marks on data that looks like one."""

Kind = Literal["blob", "value"]

ObjectName = Annotated[str, Field(pattern=r"^\d+/(\+[^/\\]+/)*@[^/\\]+/[0-9a-f]{64}(\.[0-9a-f]{32})?$")]
"""The object's name below the store's root: partition, quoted task id, hash of the content, hash of the
tenant.

The pattern allows no name outside of the root.
"""

Hash = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


@runtime_checkable
class Readable(Protocol):
    """A file that is open for reading bytes."""

    def read(self, size: int, /) -> bytes: ...


Source = bytes | Readable | Iterable[bytes] | AsyncIterable[bytes]


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class Blob:
    """A reference to bytes in the object store. In JSON it is the object that these fields make.

    `sha256` is the hash of the bytes, and is checked when they are read. `key` is the id of the key with
    which the bytes are encrypted, if they are.
    """

    object: ObjectName
    size_bytes: Annotated[int, Field(ge=0)]
    sha256: Hash
    media_type: str = ANYTHING
    key: str | None = None
    kind: Kind = "blob"

    if not TYPE_CHECKING:

        def __getattr__(self, name: str) -> Any:
            """Raise an error that explains why a workflow can't read an attribute of a large value."""
            if name.startswith("__"):  # Python's own questions, asked of a half-made object too
                raise AttributeError(name)
            raise AttributeError(
                f"a workflow can't read {name!r} of a value of {self.size_bytes:,} bytes, because such a "
                "large value is kept in the object store: pass it to a tool, which gets the value"
            )

    @classmethod
    async def write(cls, source: Source, media_type: str = ANYTHING) -> "Blob":
        """Store the bytes, and return the blob. Pass bytes, an open file, or an iterator of pieces.

        Pieces are never all in memory. The bytes expire with the task. Raises `Retryable` if the store does
        not answer.
        """
        return await _task_objects().put(source, media_type)

    @classmethod
    async def dump(cls, value: Any) -> "Blob":
        """Store a value as JSON, for example a pydantic model. Raises `BadInput` if JSON can't hold it."""
        return await cls.write(_task_objects().encode(value), JSON)

    def chunks(self) -> AsyncIterator[bytes]:
        """Yield the bytes in pieces of at most a megabyte.

        Raises `Permanent` if the object no longer exists, or, after the last piece, if the bytes are not
        those that were written. Raises `Retryable` if the store does not answer.
        """
        return _task_objects().chunks(self)

    async def read(self) -> bytes:
        """Return all of the bytes. Raises the errors of `chunks`."""
        return await bytes_of(self, _task_objects())

    async def load(self, kind: type[T]) -> T:
        """Return the value that `dump` stored. Raises `ValidationError` if it does not fit `kind`."""
        return _task_objects().decode(await self.read(), kind)


def taken(given: Any) -> Any:
    """Return a JSON value as a workflow gets it, or its reference. Raises `ValidationError`."""
    return reference(given) if is_value(given) else unmarked(given)


def is_value(given: Any) -> TypeGuard[dict[str, Any]]:
    """Return whether a JSON value is a reference to a larger value in the object store."""
    return isinstance(given, dict) and cast("Any", given).get("kind") == "value" and "sha256" in given


def reference(given: dict[str, Any]) -> Blob:
    """Return the reference. Raises `ValidationError` if the value only looks like one."""
    return _REFERENCE.validate_python(given)


DATA = "segue:data"
"""The only key of an object that marks its value as data which only looks like a reference or a mark."""


def as_data(given: Any, source: Any = None) -> Any:
    """Return JSON for a record, in which only the blobs in `source`, its origin, are references."""
    return _marked(given, set(_objects_in(source))) if _is_mistakable(given) else given


def unmarked(given: Any) -> Any:
    """Return the JSON as it was before `as_data`."""
    if isinstance(given, dict):
        fields = cast("dict[str, Any]", given)
        inner = fields[DATA] if _is_marked(fields) else fields
        return {name: unmarked(value) for name, value in inner.items()}
    return [unmarked(each) for each in cast("Any", given)] if isinstance(given, list) else given


def _is_marked(given: dict[str, Any]) -> bool:
    return given.keys() == {DATA} and isinstance(given[DATA], dict)


def _is_mistakable(given: Any) -> bool:
    if isinstance(given, dict):
        fields = cast("dict[str, Any]", given)
        return is_value(fields) or DATA in fields or any(map(_is_mistakable, fields.values()))
    return isinstance(given, list) and any(map(_is_mistakable, cast("Any", given)))


def _marked(given: Any, objects: set[str]) -> Any:
    if isinstance(given, list):
        return [_marked(each, objects) for each in cast("Any", given)]
    if not isinstance(given, dict):
        return given
    fields = cast("dict[str, Any]", given)
    known_as = fields.get("object")
    if is_value(fields) and isinstance(known_as, str) and known_as in objects:
        return fields
    inner = {name: _marked(value, objects) for name, value in fields.items()}
    return {DATA: inner} if is_value(fields) or DATA in fields else inner


def _objects_in(source: Any, seen: set[int] | None = None) -> Iterator[str]:
    """Yield the object names of all blobs in a Python value."""
    seen = set() if seen is None else seen
    if isinstance(source, Blob):
        yield source.object
    if isinstance(source, Blob | str | bytes) or id(source) in seen:
        return
    seen.add(id(source))
    if isinstance(source, Mapping):
        within: Iterable[Any] = cast("Any", source).values()
    elif isinstance(source, list | tuple | Set | deque):
        within = cast("Iterable[Any]", source)
    else:
        within = getattr(source, "__dict__", {}).values()
    for each in within:
        yield from _objects_in(each, seen)


async def whole(given: Any, task_objects: "TaskObjects") -> Any:
    """Return a JSON value as user code gets it, with all of its values that are in the object store."""
    if is_value(given):
        blob = reference(given)
        value = from_json(await bytes_of(blob, task_objects))
        return await whole(value, task_objects) if blob.media_type == RECORD_JSON else value
    if isinstance(given, dict):
        if _is_marked(cast("dict[str, Any]", given)):
            return unmarked(given)
        return {
            name: await whole(value, task_objects) for name, value in cast("dict[str, Any]", given).items()
        }
    if isinstance(given, list):
        return [await whole(value, task_objects) for value in cast("Any", given)]
    return given


async def bytes_of(blob: Blob, task_objects: "TaskObjects") -> bytes:
    return b"".join([chunk async for chunk in task_objects.chunks(blob)])


_REFERENCE = TypeAdapter(Blob)


class TaskObjects(Protocol):
    """The objects of one task in the object store."""

    async def put(self, source: Source, media_type: str, kind: Kind = "blob") -> Blob: ...

    def chunks(self, blob: Blob) -> AsyncIterator[bytes]: ...

    def encode(self, value: Any) -> bytes:
        """Return the value as JSON. Raises `BadInput` if JSON can't hold it."""
        ...

    def decode(self, body: bytes, kind: type[T]) -> T:
        """Return the value of that JSON. Raises `ValidationError` if it does not fit `kind`."""
        ...


TASK_OBJECTS: ContextVar[TaskObjects] = ContextVar("segue_task_objects")
"""Set while a tool or a check runs."""


def _task_objects() -> TaskObjects:
    task_objects = TASK_OBJECTS.get(None)
    if task_objects is None:
        raise BadInput(
            "a Blob can be read and written only in a tool or a check: pass it from the workflow to a "
            "tool, or use a Client in a program outside"
        )
    return task_objects
