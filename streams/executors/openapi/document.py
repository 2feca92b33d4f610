"""An OpenAPI document, 3.0 or 3.1, read as far as a call needs it: operations, parameters, bodies, responses.

A `Place` is a part of the document with where it stands. That matters to schemas: one refers to others by
their place (`#/components/…`), so a value is validated against the schema *at* its place, by the whole
document. Both dialects of schemas are those of `openapi-schema-validator`.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, cast
from urllib.parse import urljoin

import openapi_schema_validator
from referencing import Registry, Specification
from referencing.exceptions import Unresolvable
from referencing.jsonschema import DRAFT202012, EMPTY_REGISTRY

from segue.streams.json_schema.schema import bounded, faults, unusable
from segue.topics.errors import Permanent

METHODS = ("get", "put", "post", "delete", "options", "head", "patch", "trace")

OPAQUE: Specification[Any] = Specification.OPAQUE
"""In 3.0 a schema has no identifiers of its own; what is called `id` is data."""

ROOT = "urn:openapi"

REFERENCES_MAX = 50
"""One after the other: more is a circle."""

IN = ("path", "query", "header", "cookie")


class Document:
    """Raises `Permanent` where it can't be read. `url` is where it was, for relative servers."""

    def __init__(self, content: Any, url: str | None = None) -> None:
        if not isinstance(content, Mapping) or "openapi" not in content:
            raise Permanent("it is no OpenAPI document: it has no 'openapi' (convert Swagger 2.0 first)")
        self.version = str(cast("Any", content)["openapi"])
        if not self.version.startswith(("3.0", "3.1")):
            raise Permanent(f"OpenAPI {self.version} can't be read: 3.0 and 3.1 can")
        self.root = Place(self, "", dict(cast("Mapping[str, Any]", content)))
        self.url = url

    @cached_property
    def registry(self) -> "Registry[Any]":
        """The document alone: nothing is fetched for a reference to elsewhere."""
        kind: Specification[Any] = OPAQUE if self.version.startswith("3.0") else DRAFT202012
        registry: Registry[Any] = EMPTY_REGISTRY.with_resource(ROOT, kind.create_resource(self.root.value))
        return registry

    def validator(self, *, written: bool) -> Any:
        dialects: Any = openapi_schema_validator  # its classes are made at run time, without types
        if self.version.startswith("3.1"):
            return bounded(dialects.OAS31Validator)
        return bounded(dialects.OAS30WriteValidator if written else dialects.OAS30ReadValidator)

    def unusable(self) -> list[str]:
        """The patterns of its schemas that are not checked, and why."""
        return unusable(self.root.value)

    def operation(self, name: str) -> "Operation":
        """By its id, or as `GET /pets/{id}`. Raises `Permanent` naming those that there are."""
        if name not in self._operations_by_name:
            there = (
                ", ".join(sorted({each.id or each.title for each in self._operations_by_name.values()}))
                or "none"
            )
            raise Permanent(f"no operation {name!r}; there are: {there}")
        return self._operations_by_name[name]

    @cached_property
    def _operations_by_name(self) -> dict[str, "Operation"]:
        operations = list(self._operations())
        return {each.title: each for each in operations} | {each.id: each for each in operations if each.id}

    def _operations(self) -> Iterator["Operation"]:
        for path, item in self.root.child("paths").items():
            for method in METHODS:
                if method in item:
                    yield Operation(method.upper(), path, item, item.child(method))


@dataclass(frozen=True)
class Place:
    document: Document
    pointer: str
    value: Any

    @property
    def object(self) -> Mapping[str, Any]:
        """What stands here; empty if that is no object."""
        value: Any = self.value
        return cast("Mapping[str, Any]", value) if isinstance(value, Mapping) else {}

    def __contains__(self, key: str) -> bool:
        return key in self.object

    def get(self, key: str, default: Any = None) -> Any:
        return self.object.get(key, default)

    def child(self, key: str) -> "Place":
        """What stands there, a reference followed; an empty object if nothing does."""
        place = Place(self.document, f"{self.pointer}/{_escaped(key)}", self.get(key, {}))
        return place.followed()

    def items(self) -> Iterator[tuple[str, "Place"]]:
        for key in self.object:
            yield key, self.child(key)

    def elements(self, key: str) -> Iterator["Place"]:
        for number, value in enumerate(self.get(key, [])):
            yield Place(self.document, f"{self.pointer}/{key}/{number}", value).followed()

    def followed(self) -> "Place":
        place = self
        for _ in range(REFERENCES_MAX):
            if "$ref" not in place:
                return place
            place = self.document.root.at(str(place.value["$ref"]))
        raise Permanent(f"the reference at {self.pointer} leads back to itself")

    def at(self, reference: str) -> "Place":
        if not reference.startswith("#/"):
            raise Permanent(f"{reference!r} refers to another document: bundle them into one")
        place = self
        for part in reference[2:].split("/"):
            key = part.replace("~1", "/").replace("~0", "~")
            if key not in place:
                raise Permanent(f"{reference!r} refers to nothing")
            place = Place(self.document, reference[1:], place.get(key))
        return place

    def faults(self, value: Any, *, written: bool) -> str | None:
        """What is wrong with `value` by the schema here; None if nothing is."""
        schema = {"$ref": f"{ROOT}#{self.pointer}"}
        document = self.document
        try:
            return faults(schema, value, document.validator(written=written), document.registry)
        except Unresolvable as error:
            raise Permanent(f"the schema at {self.pointer} can't be read: {error}") from None


@dataclass(frozen=True)
class Operation:
    method: str
    path: str
    item: Place
    place: Place

    @property
    def id(self) -> str:
        return str(self.place.get("operationId", ""))

    @property
    def title(self) -> str:
        return f"{self.method} {self.path}"

    @cached_property
    def parameters(self) -> dict[str, "Parameter"]:
        """By the names that they have as arguments; those of the operation go before those of its path."""
        declared = [*self.item.elements("parameters"), *self.place.elements("parameters")]
        found = {(each.get("in"), each.get("name")): Parameter(each) for each in declared}
        names = [parameter.argument for parameter in found.values()]
        return {
            each.argument if names.count(each.argument) == 1 else f"{each.where}_{each.argument}": each
            for each in found.values()
        }

    @property
    def body(self) -> Place | None:
        """The schema of a JSON body; None if it takes none. Raises `Permanent` for other kinds."""
        body = self.place.child("requestBody")
        kinds = body.child("content")
        if not kinds.value:
            return None
        for kind, content in kinds.items():
            if is_json(kind):
                return content.child("schema")
        raise Permanent(f"{self.title} takes {', '.join(kinds.value)}, and only JSON can be sent")

    @property
    def body_is_required(self) -> bool:
        return bool(self.place.child("requestBody").get("required"))

    def response(self, status: int, kind: str) -> Place | None:
        """The schema of a response of that status and content type, if the document tells one."""
        responses = self.place.child("responses")
        told = next((key for key in (str(status), f"{status // 100}XX", "default") if key in responses), None)
        if told is None:
            return None
        for each, content in responses.child(told).child("content").items():
            if _same_kind(each, kind) and "schema" in content:
                return content.child("schema")
        return None

    @property
    def security(self) -> list[dict[str, list[str]]]:
        """Alternatives: each names the schemes that are needed together. No alternative: none is needed."""
        own = self.place.get("security")
        return list(self.place.document.root.get("security", []) if own is None else own)

    def server(self, given: str | None) -> str:
        """Where the path is. Raises `Permanent` if that can't be known."""
        places = (self.place, self.item, self.place.document.root)
        told = next((server for place in places for server in place.elements("servers")), None)
        url = given or (_filled_in(told) if told is not None else "/")
        whole = urljoin(self.place.document.url or "", url)
        if not whole.startswith(("http://", "https://")):
            raise Permanent(
                f"where is the service? The document says {url!r}: give OpenApi(…, server='https://…')"
            )
        return whole.rstrip("/")


@dataclass(frozen=True)
class Parameter:
    place: Place

    @property
    def name(self) -> str:
        return str(self.place.get("name"))

    @property
    def where(self) -> str:
        return str(self.place.get("in"))

    @property
    def argument(self) -> str:
        """A name that Python can say: `X-Request-Id` is `X_Request_Id`."""
        return re.sub(r"\W", "_", self.name)

    @property
    def required(self) -> bool:
        return bool(self.place.get("required")) or self.where == "path"

    @property
    def style(self) -> str:
        return str(self.place.get("style", "form" if self.where in ("query", "cookie") else "simple"))

    @property
    def explode(self) -> bool:
        return bool(self.place.get("explode", self.style == "form"))

    @property
    def is_json(self) -> bool:
        """Its content is JSON, in the place of a style."""
        return any(map(is_json, self.place.child("content").value))

    @property
    def schema(self) -> Place:
        for kind, content in self.place.child("content").items():
            if is_json(kind):
                return content.child("schema")
        return self.place.child("schema")


def is_json(kind: str) -> bool:
    essence = kind.partition(";")[0].strip().lower()
    return essence in ("application/json", "text/json", "*/*") or essence.endswith("+json")


def _same_kind(told: str, kind: str) -> bool:
    return told.partition(";")[0].strip().lower() == kind or (is_json(told) and is_json(kind))


def _filled_in(server: Place) -> str:
    url = str(server.get("url", "/"))
    for name, variable in server.child("variables").items():
        url = url.replace(f"{{{name}}}", str(variable.get("default", "")))
    return url


def _escaped(key: str) -> str:
    return key.replace("~", "~0").replace("/", "~1")
