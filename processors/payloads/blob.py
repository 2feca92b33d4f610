"""A blob: bytes of any size in the object store, known by a reference of a few hundred bytes.

    @tool
    async def scan(site: str) -> Blob:
        return await Blob.write(camera(site), "image/tiff")

    @tool
    async def count_trees(picture: Blob) -> int:
        async for chunk in picture.chunks(): ...

The reference is what travels and what the journal holds. A workflow passes it on and never has the bytes: ten
thousand coroutines are in memory at once. Tools, checks and clients write and read them, through the `SHELF`
that the shell puts there.

A result that is no blob but does not fit into a record becomes one by itself, a blob that is a *value*: the
workflow holds its reference, and a tool or check that it is passed to gets the value again.

Data is never taken for such a reference, whatever it looks like. Only Segue writes one: in place of a result
or an input that did not fit, and for a `Blob` that a workflow passes on. What comes from outside or out of
user code and looks like a reference is marked as data (`as_data`) before it stands in a record, and loses the
mark (`unmarked`) where user code gets it.
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
"""JSON as it stands in a record: with references to other objects, and with data marked that looks so."""

Kind = Literal["blob", "value"]

ObjectName = Annotated[str, Field(pattern=r"^\d+/(\+[^/\\]+/)*@[^/\\]+/[0-9a-f]{64}(\.[0-9a-f]{32})?$")]
"""Below the store's root: the partition, the task's id, quoted, a hash of the content, and one of the tenant.

It never leads out of there.
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

    `sha256` is that of the bytes, and is checked when they are read. `key` names the key that they are
    encrypted with, if they are.
    """

    object: ObjectName
    size_bytes: Annotated[int, Field(ge=0)]
    sha256: Hash
    media_type: str = ANYTHING
    key: str | None = None
    kind: Kind = "blob"

    if not TYPE_CHECKING:

        def __getattr__(self, name: str) -> Any:
            """For a workflow that would look into a value: its annotation promised one."""
            if name.startswith("__"):  # Python's own questions, asked of a half-made object too
                raise AttributeError(name)
            raise AttributeError(
                f"a workflow can't read {name!r} of a value of {self.size_bytes:,} bytes, because such a "
                "large value is kept in the object store: pass it to a tool, which gets the value"
            )

    @classmethod
    async def write(cls, source: Source, media_type: str = ANYTHING) -> "Blob":
        """Keeps the bytes: given at once, by an open file, or in pieces, which are never all in memory.

        They expire with the task. Raises `Retryable` when the store does not answer.
        """
        return await _shelf().put(source, media_type)

    @classmethod
    async def dump(cls, value: Any) -> "Blob":
        """Keeps a value as JSON: a pydantic model, say. Raises `BadInput` if JSON can't hold it."""
        return await cls.write(_shelf().encode(value), JSON)

    def chunks(self) -> AsyncIterator[bytes]:
        """The bytes, in pieces of at most a megabyte.

        Raises `Permanent` when the object is gone, or, after its last piece, when it is not what was written;
        `Retryable` when the store does not answer.
        """
        return _shelf().chunks(self)

    async def read(self) -> bytes:
        """All of the bytes."""
        return await bytes_of(self, _shelf())

    async def load(self, kind: type[T]) -> T:
        """The value that was kept with `dump`. Raises `ValidationError` if it is no `kind`."""
        return _shelf().decode(await self.read(), kind)


def taken(given: Any) -> Any:
    """A JSON value as a workflow gets it, or its reference. Raises `ValidationError`."""
    return reference(given) if is_value(given) else unmarked(given)


def is_value(given: Any) -> TypeGuard[dict[str, Any]]:
    """Whether a JSON value stands for a larger one in the object store."""
    return isinstance(given, dict) and cast("Any", given).get("kind") == "value" and "sha256" in given


def reference(given: dict[str, Any]) -> Blob:
    """Raises `ValidationError` for what only looks like one."""
    return _REFERENCE.validate_python(given)


DATA = "segue:data"
"""The one key of an object that holds another, which only looks like a reference, or like such an object."""


def as_data(given: Any, source: Any = None) -> Any:
    """JSON for a record, in which only the blobs in `source`, of which it was made, are references."""
    return _marked(given, set(_objects_in(source))) if _is_mistakable(given) else given


def unmarked(given: Any) -> Any:
    """JSON as it was before `as_data`."""
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
    """The names of all objects that a Python value has a `Blob` of."""
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


async def whole(given: Any, task_objects: "ObjectShelf") -> Any:
    """A JSON value as user code gets it, with all values in it that stand in the object store."""
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


async def bytes_of(blob: Blob, task_objects: "ObjectShelf") -> bytes:
    return b"".join([chunk async for chunk in task_objects.chunks(blob)])


_REFERENCE = TypeAdapter(Blob)


class ObjectShelf(Protocol):
    """One task's place in the object store."""

    async def put(self, source: Source, media_type: str, kind: Kind = "blob") -> Blob: ...

    def chunks(self, blob: Blob) -> AsyncIterator[bytes]: ...

    def encode(self, value: Any) -> bytes:
        """The value as JSON. Raises `BadInput` if JSON can't hold it."""
        ...

    def decode(self, body: bytes, kind: type[T]) -> T:
        """The value of that JSON. Raises `ValidationError` if it is no `kind`."""
        ...


TASK_OBJECTS: ContextVar[ObjectShelf] = ContextVar("segue_shelf")
"""Set where a tool or a check runs."""


def _shelf() -> ObjectShelf:
    task_objects = TASK_OBJECTS.get(None)
    if task_objects is None:
        raise BadInput(
            "a Blob can be read and written only in a tool or a check: pass it from the workflow to a "
            "tool, or use a Client in a program outside"
        )
    return task_objects
