"""What Segue changes in a type's pydantic schema, so that a value is read as it was written.

`on_wire` is the schema that values are written and validated by. A field is written by its alias, and read by
its alias or its name. Sets are written in one order. What is read back may hold computed fields, which are
left out. A secret is not written at all.

`as_validated` is the schema of a value that was validated before: without the validators of the user, which
may give something else or refuse it by now, and without comparing times with the clock. A validator stays
where it makes the type: in a type's own schema, beside a serializer of the user, or if it returns another
type than it takes.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import is_dataclass
from typing import Any, NoReturn, cast, get_args, get_type_hints

from pydantic import AfterValidator, BeforeValidator, PlainValidator, WrapValidator

from segue.topics.codec import json_of
from segue.topics.errors import BadInput

Schema = dict[str, Any]

ATOMS = ("cls", "config", "default", "expected", "function", "members", "metadata", "ref", "serialization")
"""Keys of a schema under which there are no schemas."""

FIELDS = ("model-field", "dataclass-field", "typed-dict-field")
VALIDATORS = ("function-after", "function-before", "function-wrap")
DECORATED = ("validators", "field_validators", "root_validators", "model_validators")

NO_SECRETS = (
    "a secret can't be sent: it would be written to topics, logs and pages, and be read back as "
    "asterisks. Pass the name by which a tool can look it up"
)


def on_wire(schema: Any, written: Callable[[Any], Any]) -> Any:
    """`written` makes JSON of a value of any type."""
    return _Wire(written, _spellings_in(schema)).changed(schema)


def as_validated(schema: Any, declared: frozenset[Any]) -> Any:
    """Of an `on_wire` schema. `declared` are the validators in the annotation of the type itself."""
    return _Validated(declared).changed(schema)


class _Changes:
    """Copies a schema, and changes each node of it, the innermost first."""

    def changed(self, node: Any) -> Any:
        if isinstance(node, list):
            return [self.changed(each) for each in cast("list[object]", node)]
        if isinstance(node, tuple):
            return tuple(self.changed(each) for each in cast("tuple[object, ...]", node))
        if not isinstance(node, dict):
            return node
        copy = self._within(cast("Schema", node))
        if isinstance(written := copy.get("serialization"), dict):
            copy["serialization"] = self._within(cast("Schema", written))
        return self.node(copy) if isinstance(copy.get("type"), str) else copy

    def _within(self, node: Schema) -> Schema:
        return {key: value if key in ATOMS else self.changed(value) for key, value in node.items()}

    def node(self, node: Schema) -> Schema:
        raise NotImplementedError


# ---------------------------------------------------------------- what is written and validated


class _Wire(_Changes):
    def __init__(self, written: Callable[[Any], Any], spellings: Mapping[str, list[str]]) -> None:
        self._any = {"type": "function-plain", "function": written, "when_used": "json"}
        self._spellings = spellings

    def node(self, node: Schema) -> Schema:
        match node["type"]:
            case "any":
                node.setdefault("serialization", self._any)
            case "set" | "frozenset":
                ordered = {"type": "function-wrap", "function": _ordered, "when_used": "json"}
                node.setdefault("serialization", ordered)
                node.setdefault("items_schema", self.node({"type": "any"}))
            case "list" | "deque":
                node.setdefault("items_schema", self.node({"type": "any"}))
            case "dict" | "defaultdict" | "ordered-dict":
                node.setdefault("values_schema", self.node({"type": "any"}))
            case "model-fields" | "typed-dict":
                for name, field in node["fields"].items():
                    _by_alias_or_name(field, name)
            case "dataclass-args":
                for field in node["fields"]:
                    _by_alias_or_name(field, field["name"])
            case "function-plain":
                _written_once(node)
            case "tagged-union":
                _spelled_by_aliases(node, self._spellings)
            case "json":
                as_text = {"type": "function-wrap", "function": _text_of_json, "when_used": "json"}
                node.setdefault("serialization", as_text)
            case "model" | "dataclass":
                _without_computed(node)
                _same_bytes(node)
            case _:
                pass
        _refuse_secret(node)
        return node


def _by_alias_or_name(field: Schema, name: str) -> None:
    """It is read by what it is written by, by its aliases, and by its name, in this order."""
    alias, spelled = field.get("validation_alias"), field.get("serialization_alias")
    if alias is None and spelled is None:
        return
    paths: list[Any] = [[spelled or name], *_paths(alias), [name]]
    field["validation_alias"] = [path for at, path in enumerate(paths) if path not in paths[:at]]


def has_other_aliases(field: Schema) -> bool:
    """Return whether a field is read by aliases by which it is not written."""
    written = [field.get("serialization_alias")]
    return any(path != written for path in _paths(field.get("validation_alias")))


def _spelled_by_aliases(union: Schema, spellings: Mapping[str, list[str]]) -> None:
    """Find the alternative also by the alias under which its discriminator is written."""
    paths = _paths(union["discriminator"]) if not callable(union["discriminator"]) else []
    more = [[spelled] for path in paths for spelled in spellings.get(path[0], ()) if [spelled] not in paths]
    if more:
        union["discriminator"] = [*paths, *more]


def _spellings_in(node: Any) -> dict[str, list[str]]:
    """Return the aliases under which fields are written, by the fields' names."""
    found: dict[str, list[str]] = {}
    _collect_spellings(node, found)
    return found


def _collect_spellings(node: Any, found: dict[str, list[str]]) -> None:
    if isinstance(node, list | tuple):
        for each in cast("list[Any]", node):
            _collect_spellings(each, found)
    if not isinstance(node, dict):
        return
    for name, inner in cast("Schema", node).items():
        field = cast("Schema", inner) if isinstance(inner, dict) else {}
        if field.get("type") in FIELDS and field.get("serialization_alias"):
            found.setdefault(name, []).append(field["serialization_alias"])
        if name not in ATOMS:
            _collect_spellings(inner, found)


def _paths(alias: Any) -> list[Any]:
    match alias:
        case None:
            return []
        case str():
            return [[alias]]
        case [list(), *_]:
            return cast("list[Any]", alias)
        case _:
            return [alias]


def _without_computed(node: Schema) -> None:
    """Computed fields are written, for who reads the topics, and are not read back."""
    inner = node["schema"]
    extra = inner.get("extra_behavior") or node.get("config", {}).get("extra_fields_behavior")
    computed = {each.get("alias") or each["property_name"] for each in inner.get("computed_fields", ())}
    if not computed or extra not in ("forbid", "allow"):
        return

    def left_out(given: Any) -> Any:
        if not isinstance(given, dict):
            return given
        return {name: value for name, value in cast("Schema", given).items() if name not in computed}

    function = {"type": "no-info", "function": left_out}
    node["schema"] = {"type": "function-before", "function": function, "schema": inner}


def _same_bytes(node: Schema) -> None:
    """Bytes are read by the encoding in which they are written."""
    config = node.get("config", {})
    if "ser_json_bytes" in config and "val_json_bytes" not in config:
        node["config"] = config | {"val_json_bytes": config["ser_json_bytes"]}


def _ordered(values: Any, handler: Callable[[Any], Any]) -> list[Any]:
    """Raises `BadInput` for NaN and infinities, for which pydantic would write null here."""
    return sorted(handler(values), key=json_of)


def _written_once(node: Schema) -> None:
    """Take what pydantic's serializer of a plain validator returns as it is: it is written already."""
    serialization = node.get("serialization", {})
    if "schema" in serialization:
        node["serialization"] = {k: v for k, v in serialization.items() if k != "return_schema"}


def _text_of_json(value: Any, handler: Callable[[Any], Any]) -> str:
    return json_of(handler(value)).decode()


def _refuse_secret(node: Schema) -> None:
    serialization = node.get("serialization")
    if not isinstance(serialization, dict):
        return
    function: Any = cast("Schema", serialization).get("function")
    module, name = getattr(function, "__module__", ""), getattr(function, "__name__", "")
    if module == "pydantic.types" and name.startswith("_serialize_secret"):
        node["serialization"] = {"type": "function-plain", "function": _secret, "when_used": "unless-none"}


def _secret(_: Any) -> NoReturn:
    raise BadInput(NO_SECRETS)


# ---------------------------------------------------------------- what was validated before


class _Validated(_Changes):
    def __init__(self, declared: frozenset[Any]) -> None:
        self._declared = declared

    def changed(self, node: Any) -> Any:
        """A serializer of the user and the validators below it are each other's inverse: both stay."""
        if isinstance(node, dict) and _is_written_by_user(cast("Schema", node)):
            return cast("Schema", node)
        cls: Any = cast("Schema", node).get("cls") if isinstance(node, dict) else None
        if isinstance(cls, type):
            self._declared |= validators_of(cls)
        return super().changed(node)

    def node(self, node: Schema) -> Schema:
        kind = node["type"]
        if kind in VALIDATORS and _is_in(node["function"]["function"], self._declared):
            return _named_as(node, node["schema"])
        if kind == "function-plain" and _is_in(node["function"]["function"], self._declared):
            return _named_as(node, _annotated(node))
        if kind in ("date", "datetime"):
            node.pop("now_op", None)
        if kind == "model" and node.get("custom_init"):
            node["custom_init"] = False
        if kind in ("model", "dataclass") and node.get("post_init"):
            return _initialized(node)
        return node


def _is_written_by_user(node: Schema) -> bool:
    serialization = node.get("serialization")
    function = cast("Schema", serialization).get("function") if isinstance(serialization, dict) else None
    if function is None:
        return False
    module = str(getattr(function, "__module__", None))
    return not module.startswith(("pydantic", "segue.processors.", "operator", "builtins"))


def _annotated(plain: Schema) -> Schema:
    """Return the schema of the annotation, by which pydantic writes what a plain validator makes."""
    return cast("Schema", plain.get("serialization", {}).get("schema", plain))


def _is_in(function: Any, declared: frozenset[Any]) -> bool:
    try:
        return function in declared
    except TypeError:  # it has no hash, as a partial of a list has none
        return False


def _initialized(node: Schema) -> Schema:
    """An initializer makes what is no field; of the fields, what was validated stands."""
    name = node.pop("post_init")
    name = name if isinstance(name, str) else "__post_init__"
    arguments: Any = node["schema"]
    fields: list[Schema] = arguments.get("fields", []) if node["type"] == "dataclass" else []
    if any(field.get("init_only") for field in fields):
        return node | {"post_init": True}  # it takes what does not travel
    for field in fields:
        field.pop("init", None)

    def initialize(made: Any) -> Any:
        known: Schema = dict(getattr(made, "__dict__", {}))
        with suppress(Exception):  # it went well once: what it objects to by now was right then
            getattr(made, name)(*([None] if name == "model_post_init" else []))
        for known_as, value in known.items():
            object.__setattr__(made, known_as, value)
        return made

    function = {"type": "no-info", "function": initialize}
    made = {key: value for key, value in node.items() if key != "ref"}
    return _named_as(node, {"type": "function-after", "function": function, "schema": made})


def _named_as(node: Schema, instead: Schema) -> Schema:
    """Others refer to a node by its `ref`, which what stands in its place takes over."""
    return instead | {"ref": node["ref"]} if "ref" in node else instead


# ---------------------------------------------------------------- validators of users


def validators_in(annotation: Any) -> frozenset[Any]:
    """Those that an annotation declares, at any depth, but for those that make another type."""
    return frozenset(each for each in _declared(annotation, set()) if not _makes_another_type(each))


def validators_of(cls: type) -> frozenset[Any]:
    """Those that a class declares: by decorators, and in the annotations of its fields."""
    decorators: Any = getattr(cls, "__pydantic_decorators__", None)
    decorated = {
        each.func for kind in DECORATED for each in getattr(decorators, kind, cast("Any", {})).values()
    }
    return frozenset(decorated) | validators_in(cls)


def _declared(annotation: Any, seen: set[int]) -> Iterator[Any]:
    if id(annotation) in seen:
        return
    seen.add(id(annotation))
    for each in getattr(annotation, "__metadata__", ()):
        yield from _functions([each, *getattr(each, "metadata", ())])
    aliased: Any = getattr(annotation, "__value__", None) or getattr(annotation, "__supertype__", None)
    within = [*get_args(annotation), *([aliased] if aliased is not None else []), *_of_fields(annotation)]
    for info in getattr(annotation, "__pydantic_fields__", cast("Any", {})).values():
        yield from _functions(info.metadata)
    for inner in within:
        yield from _declared(inner, seen)


def _functions(metadata: Any) -> Iterator[Any]:
    for each in metadata:
        if isinstance(each, AfterValidator | BeforeValidator | PlainValidator | WrapValidator):
            yield each.func


def _of_fields(annotation: Any) -> list[Any]:
    infos: Mapping[str, Any] = getattr(annotation, "__pydantic_fields__", cast("Any", {}))
    found = [info.annotation for info in infos.values()]
    has_hints = is_dataclass(annotation) or hasattr(annotation, "_fields") or hasattr(annotation, "__total__")
    if isinstance(annotation, type) and has_hints:
        with suppress(NameError, TypeError):  # what can't be looked up here, pydantic has looked up
            found += get_type_hints(annotation, include_extras=True).values()
    return found


def _makes_another_type(function: Any) -> bool:
    if isinstance(function, type):
        return True
    try:
        hints = get_type_hints(function)
    except (NameError, TypeError):
        return False
    made = hints.pop("return", None)
    return made is not None and bool(hints) and made != next(iter(hints.values()))
