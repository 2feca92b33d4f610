"""Values on their way into JSON and back: `read(write(value)) == value`, or writing is refused.

    value ─▶ write ─▶ JSON, on a topic ─▶ read ─▶ value        what was validated: validators do not run again
    JSON from outside ─▶ validate ─▶ the JSON of the validated value

JSON has one spelling: fields by their aliases, sets in one order, other types as pydantic writes them. What
reads it takes aliases and names. See `wire` for what differs from pydantic, and decision 0037 for why.
"""

from collections import deque
from collections.abc import Hashable, Mapping, Set
from dataclasses import dataclass, field, fields, is_dataclass
from enum import Enum
from functools import cached_property, lru_cache
from math import isfinite
from typing import Any, Generic, Literal, TypeVar, cast, get_args, get_origin
from weakref import WeakKeyDictionary

from pydantic import (
    BaseModel,
    Secret,
    SecretBytes,
    SecretStr,
    TypeAdapter,
    ValidationError,
)
from pydantic.errors import PydanticSchemaGenerationError, PydanticUndefinedAnnotation, PydanticUserError
from pydantic.json_schema import GenerateJsonSchema
from pydantic_core import (
    PydanticSerializationError,
    SchemaSerializer,
    SchemaValidator,
    to_json,
    to_jsonable_python,
)

from segue.processors.payloads.blob import Blob, as_data, is_value, reference, unmarked
from segue.processors.payloads.wire import ATOMS, NO_SECRETS, as_validated, on_wire, validators_in
from segue.topics.codec import NO_NUMBER, RECORD_DEPTH_MAX, why_no_json
from segue.topics.descriptions import is_ctrl_c, kind_of, text_of
from segue.topics.errors import BadInput

T = TypeVar("T")

AS_IT_IS = frozenset({str, int, bool, type(None)})

TYPES_MAX = 2_000
"""Types whose schemas are kept: all that an app declares, and those of values without an annotation."""

_BY_ALIAS_AND_NAME: Any = {"by_alias": True, "by_name": True}


class _OfAnotherType(BadInput):
    """The value is not what its annotation says."""


class Values(Generic[T]):
    """The values of one type. `annotation` is the type with its metadata, of which `adapter` was made."""

    def __init__(self, annotation: Any, adapter: TypeAdapter[T]) -> None:
        self._annotation = annotation
        self._core_schema: Any = adapter.core_schema

    @cached_property
    def json_schema(self) -> dict[str, Any]:
        """What describes the JSON that is taken, as it is written."""
        return _Described().generate(self._schema, mode="validation")

    @cached_property
    def takes_anything(self) -> bool:
        return bool(self._core_schema["type"] == "any")

    def write(self, value: Any, *, computed: bool = True) -> Any:
        """The value in JSON's types. Raises `BadInput` if JSON can't hold it, or it would be read as another.

        Whoever puts it into a record checks by `codec.json_of` that it can be read again as text. A workflow
        has only the reference of a large value, and passes that on. Without `computed` fields it is as its
        JSON schema describes it.
        """
        try:
            return self._written(value, computed=computed)
        except _OfAnotherType as error:
            raise BadInput(str(error)) from None

    def write_what_it_holds(self, value: Any, *, computed: bool = True) -> Any:
        """The same, though its fields may hold what their annotations don't say."""
        try:
            return self._written(value, computed=computed)
        except _OfAnotherType:
            return self._written(value, computed=computed, warnings="none")

    def _written(self, value: Any, *, computed: bool = True, warnings: Any = "error") -> Any:
        if isinstance(value, Blob):
            return to_jsonable_python(value)
        try:
            written = self._serializer.to_python(
                value, mode="json", by_alias=True, warnings=warnings, exclude_computed_fields=not computed
            )
        except PydanticSerializationError as error:
            raise _unwritable(error) from None
        except ValueError as error:
            raise BadInput(f"JSON can't hold it: {why_no_json(error)}") from None
        if self._may_be_ambiguous and not self._is_read_as(written, value):
            raise BadInput(
                f"{value!r:.200} is written as {written!r:.200}, which would be read as another value of "
                f"{self._annotation}: add a discriminator to the union, or use one type"
            )
        return written

    def write_as_given(self, value: Any) -> Any:
        """The same of what may have another form, as a dict for a model: whoever reads it validates it."""
        try:
            return self._written(value)
        except _OfAnotherType:
            return jsonable(value)

    def read(self, value: Any) -> T:
        """The value of a record, written or validated before; its reference if it is in the object store.

        Raises `ValidationError`, or `BadInput` if a validator of the user that makes the type fails.
        """
        return cast("T", reference(value)) if is_value(value) else self.read_data(unmarked(value))

    def read_data(self, value: Any) -> T:
        """The same of a value that is no record's: whatever it looks like, it is data."""
        body = to_json(value)
        try:
            return cast("T", _read(self._trusting, body))
        except (ValidationError, BadInput):
            if self._trusting is self._validator:
                raise
            return cast("T", _read(self._validator, body))

    def parse(self, value: Any) -> T:
        """What its type makes of JSON from outside. Raises what `read` does."""
        return cast("T", _read(self._validator, to_json(value)))

    def validate(self, value: Any) -> Any:
        """The same of a value in a record, as it stands in one."""
        if is_value(value):
            return value
        parsed = self.parse(unmarked(value))
        return as_data(self.write(parsed), parsed)

    def validate_returned(self, value: Any) -> Any:
        """What its type makes of a value of Python's, as JSON. Raises `ValidationError` or `BadInput`."""
        return self.write(self._validator.validate_python(value, **_BY_ALIAS_AND_NAME))

    @cached_property
    def _schema(self) -> Any:
        return on_wire(dict(self._core_schema), jsonable)

    @cached_property
    def _serializer(self) -> SchemaSerializer:
        return SchemaSerializer(self._schema, None, _use_prebuilt=False)

    @cached_property
    def _validator(self) -> SchemaValidator:
        return SchemaValidator(self._schema, None, _use_prebuilt=False)

    @cached_property
    def _trusting(self) -> SchemaValidator:
        schema = as_validated(self._schema, validators_in(self._annotation))
        if schema == self._schema:
            return self._validator
        return SchemaValidator(schema, None, _use_prebuilt=False)

    @cached_property
    def _may_be_ambiguous(self) -> bool:
        return _is_ambiguous(self._schema)

    def _is_read_as(self, written: Any, value: Any) -> bool:
        try:
            read = self.read_data(written)
        except (ValidationError, BadInput):
            return False
        by_identity = type(read) is type(value) and type(value).__eq__ is object.__eq__
        return bool(read == value) or by_identity or (self._holds_anything and _is_alike(read, value))

    @cached_property
    def _holds_anything(self) -> bool:
        return _has_any(self._schema)


class _Described(GenerateJsonSchema):
    def encode_default(self, dft: Any) -> Any:
        """A set in it has one order. What has no JSON is left out with a warning."""
        try:
            return jsonable(dft)
        except BadInput:
            return super().encode_default(dft)


def _read(validator: SchemaValidator, body: bytes) -> Any:
    try:
        return validator.validate_json(body, **_BY_ALIAS_AND_NAME)
    except ValidationError:
        raise
    except BaseException as error:
        if is_ctrl_c(error):
            raise
        raise BadInput(f"can't be read: {kind_of(error)}: {text_of(error)}") from error


def _unwritable(error: PydanticSerializationError) -> BadInput:
    """Ours, raised by a value within it, is a sentence already."""
    _, ours, sentence = str(error).rpartition("BadInput: ")
    if ours:
        return BadInput(sentence)
    kind = _OfAnotherType if "Unexpected" in str(error) else BadInput
    return kind(f"JSON can't hold it: {why_no_json(error)}")


def _has_any(node: Any) -> bool:
    if isinstance(node, list | tuple):
        return any(map(_has_any, cast("list[Any]", node)))
    if not isinstance(node, dict):
        return False
    schema = cast("dict[str, Any]", node)
    return schema.get("type") == "any" or any(_has_any(schema[key]) for key in schema if key not in ATOMS)


def _is_alike(read: Any, value: Any) -> bool:
    """Return whether it is the same, but for what has no annotation: that is read in JSON's types."""
    if type(read) is type(value):
        if isinstance(value, dict):
            entries = cast("Any", value)
            return read.keys() == entries.keys() and all(
                _is_alike(read[key], entries[key]) for key in entries
            )
        if isinstance(value, list | tuple):
            parts = cast("list[Any]", value)
            return len(read) == len(parts) and all(map(_is_alike, read, parts))
        if isinstance(value, BaseModel) or is_dataclass(value):
            return _is_alike(_fields_of(read), _fields_of(value))
    try:
        return bool(read == value or read == jsonable(value))
    except BadInput:
        return False


def _fields_of(value: Any) -> dict[str, Any]:
    if isinstance(value, BaseModel):
        return dict(value)
    return {each.name: getattr(value, each.name) for each in fields(value)}


def _is_ambiguous(node: Any) -> bool:
    """Whether two values may be written alike: of alternatives, and where keys are no text."""
    if isinstance(node, list | tuple):
        return any(map(_is_ambiguous, cast("list[Any]", node)))
    if not isinstance(node, dict):
        return False
    schema = cast("dict[str, Any]", node)
    match schema.get("type"):
        case "json-or-python":
            return _is_ambiguous(schema["json_schema"])
        case "lax-or-strict":
            return _is_ambiguous(schema["strict_schema"])
        case "union" | "decimal":  # what is no number is written, and never read
            return True
        case "tagged-union" if callable(schema["discriminator"]):  # it may know names alone
            return True
        case "enum" if not all(isinstance(each.value, str | int | float) for each in schema["members"]):
            return True
        case "dict" if schema.get("keys_schema", {}).get("type", "any") not in ("any", "str", "int"):
            return True
        case "model-field" | "dataclass-field" | "typed-dict-field" if schema.get("serialization_exclude"):
            return True
        case _:
            within = (value for key, value in schema.items() if key not in ("metadata", "default", "config"))
            return any(map(_is_ambiguous, within))


# ---------------------------------------------------------------- adapters, and what has no annotation

_KNOWN: "WeakKeyDictionary[TypeAdapter[Any], Values[Any]]" = WeakKeyDictionary()


def adapter_for(annotation: Any) -> TypeAdapter[Any]:
    """The adapter of a type, whose values `values_of` knows. That of the same type is kept for a while."""
    return _adapter_of(_Spelled(_spelling(annotation), annotation))


@dataclass(frozen=True)
class _Spelled:
    """A type that is another one unless it is spelled alike: for Python `A | B` is `B | A`."""

    spelling: Hashable
    annotation: Any = field(compare=False)


@lru_cache(maxsize=TYPES_MAX)
def _adapter_of(spelled: _Spelled) -> TypeAdapter[Any]:
    adapter: TypeAdapter[Any] = TypeAdapter(spelled.annotation)
    _KNOWN[adapter] = Values(spelled.annotation, adapter)
    return adapter


def values_of(adapter: TypeAdapter[T]) -> Values[T]:
    """The values of an adapter's type."""
    values = _KNOWN.get(adapter)
    if values is None:
        values = _KNOWN[adapter] = Values(Any, adapter)
    return values


def _spelling(annotation: Any) -> Hashable:
    """Tells types apart that Python takes for equal: `A | B` and `B | A`, `Literal[1]` and `Literal[True]`.

    It holds as long as the annotation does.
    """
    if get_origin(annotation) is Literal:
        return ("literal", *((cast("Any", type(each)), each) for each in get_args(annotation)))
    if isinstance(annotation, type) and not get_args(annotation):
        return annotation
    within = get_args(annotation)
    if not within:
        return id(annotation)
    more = map(id, getattr(annotation, "__metadata__", ()))
    inner = within[: len(within) - len(getattr(annotation, "__metadata__", ()))]
    return (get_origin(annotation), *map(_spelling, inner), *more)


def _values_of_class(cls: type) -> Values[Any] | None:
    try:
        return values_of(adapter_for(cls))
    except (PydanticSchemaGenerationError, PydanticUndefinedAnnotation, PydanticUserError, NameError):
        return None


def jsonable(value: Any, depth: int = 0, *, computed: bool = True) -> Any:
    """A value without an annotation in JSON's types. Raises `BadInput` if JSON can't hold it.

    Without `computed` fields, if it is an object that has some.
    """
    kind: Any = type(value)  # pyright: ignore[reportUnknownVariableType]
    if kind in AS_IT_IS or (kind is float and isfinite(value)):
        return value
    if depth > RECORD_DEPTH_MAX:
        raise BadInput(f"JSON can't hold it: {_why_endless(value)}")
    if kind is list or kind is tuple:
        return [each if type(each) in AS_IT_IS else jsonable(each, depth + 1) for each in value]
    if kind is dict:
        return _object(value, depth)
    return _of_another_class(value, depth, computed=computed)


def _why_endless(value: Any) -> str:
    try:
        to_json(value)
    except ValueError as error:
        return why_no_json(error)
    return (
        f"lists and objects nested deeper than {RECORD_DEPTH_MAX}: pass the value with fewer levels, "
        "or as text"
    )


def _of_another_class(value: Any, depth: int, *, computed: bool) -> Any:
    if isinstance(value, BaseModel) or (is_dataclass(value) and not isinstance(value, type)):
        return _of_class(value, depth, computed=computed)
    if isinstance(value, Mapping):
        return _object(cast("Mapping[object, object]", value), depth)
    if isinstance(value, Set):
        return sorted((jsonable(each, depth + 1) for each in cast("Set[object]", value)), key=to_json)
    if isinstance(value, list | tuple | deque):
        return [jsonable(each, depth + 1) for each in cast("list[Any]", value)]
    if isinstance(value, Secret | SecretStr | SecretBytes):
        raise BadInput(NO_SECRETS)
    if isinstance(value, float) and not isfinite(value):
        raise BadInput(NO_NUMBER)
    try:
        return to_jsonable_python(value)
    except (PydanticSerializationError, ValueError) as error:
        raise BadInput(f"JSON can't hold {type(value).__name__}: {why_no_json(error)}") from None


def _of_class(value: Any, depth: int, *, computed: bool) -> Any:
    values = _values_of_class(cast("type[object]", type(value)))
    if values is not None:
        return values.write_what_it_holds(value, computed=computed)
    return {each.name: jsonable(getattr(value, each.name), depth + 1) for each in fields(value)}


def _object(value: Mapping[Any, Any], depth: int) -> dict[str, Any]:
    written: dict[str, Any] = {}
    for key, inner in value.items():
        name = key if type(key) is str else _name(key)
        if name in written:
            raise BadInput(f"JSON can't hold it: two of its keys become {name!r} in JSON")
        written[name] = inner if type(inner) in AS_IT_IS else jsonable(inner, depth + 1)
    return written


def _name(key: Any) -> str:
    """Return the key as text: numbers in digits, dates and the like as they are written elsewhere."""
    name = key.value if isinstance(key, Enum) else key
    if isinstance(name, int) and not isinstance(name, bool):
        return str(name)
    written = jsonable(name) if not isinstance(name, tuple | Set | Mapping | list) else None
    if isinstance(written, str):
        return written
    raise BadInput(f"JSON can't hold it: the key {key!r} is {type(key).__name__}, but keys in JSON are text")
