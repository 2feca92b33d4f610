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
"""

from collections.abc import AsyncIterable, AsyncIterator, Iterable
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
from pydantic_core import from_json, to_json

from topics.errors import BadInput

T = TypeVar("T")

JSON = "application/json"
ANYTHING = "application/octet-stream"

Kind = Literal["blob", "value"]

ObjectName = Annotated[str, Field(pattern=r"^\d+/(\+[^/\\]+/)*@[^/\\]+/[0-9a-f]{64}$")]
"""Below the store's root: the partition, the task's id, quoted, and a hash. It never leads out of there."""

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
                f"{name!r} of a value that is too large for a workflow, {self.size_bytes:,} bytes: "
                "pass it on to a tool, which gets the value"
            )

    @classmethod
    async def write(cls, source: Source, media_type: str = ANYTHING) -> "Blob":
        """Keeps the bytes: given at once, by an open file, or in pieces, which are never all in memory.

        They expire with the task. Raises `Retryable` when the store does not answer.
        """
        return await _shelf().put(source, media_type)

    @classmethod
    async def dump(cls, value: Any) -> "Blob":
        """Keeps a value as JSON: a pydantic model, say."""
        return await cls.write(to_json(value), JSON)

    def chunks(self) -> AsyncIterator[bytes]:
        """The bytes, in pieces of at most a megabyte.

        Raises `Permanent` when the object is gone, or, after its last piece, when it is not what was written;
        `Retryable` when the store does not answer.
        """
        return _shelf().chunks(self)

    async def read(self) -> bytes:
        """All of the bytes."""
        return b"".join([chunk async for chunk in self.chunks()])

    async def load(self, kind: type[T]) -> T:
        """The value that was kept with `dump`. Raises `ValidationError` if it is no `kind`."""
        return TypeAdapter(kind).validate_json(await self.read())


def taken(given: Any) -> Any:
    """A JSON value as a workflow gets it, or its reference. Raises `ValidationError`."""
    return reference(given) if is_value(given) else given


def is_value(given: Any) -> TypeGuard[dict[str, Any]]:
    """Whether a JSON value stands for a larger one in the object store."""
    return isinstance(given, dict) and cast("Any", given).get("kind") == "value" and "sha256" in given


def reference(given: dict[str, Any]) -> Blob:
    """Raises `ValidationError` for what only looks like one."""
    return _REFERENCE.validate_python(given)


async def whole(given: Any, shelf: "Shelf") -> Any:
    """A JSON value with all values in it, at any depth, that stand in the object store."""
    if is_value(given):
        pieces = [chunk async for chunk in shelf.chunks(reference(given))]
        return from_json(b"".join(pieces))
    if isinstance(given, dict):
        return {name: await whole(value, shelf) for name, value in cast("dict[str, Any]", given).items()}
    if isinstance(given, list):
        return [await whole(value, shelf) for value in cast("Any", given)]
    return given


_REFERENCE = TypeAdapter(Blob)


class Shelf(Protocol):
    """One task's place in the object store."""

    async def put(self, source: Source, media_type: str, kind: Kind = "blob") -> Blob: ...

    def chunks(self, blob: Blob) -> AsyncIterator[bytes]: ...


SHELF: ContextVar[Shelf] = ContextVar("segue_shelf")
"""Set where a tool or a check runs."""


def _shelf() -> Shelf:
    shelf = SHELF.get(None)
    if shelf is None:
        raise BadInput(
            "a Blob is read and written in tools and checks: "
            "a workflow passes it on, and a program outside uses a Client"
        )
    return shelf
