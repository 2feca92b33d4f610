"""A service that an OpenAPI document describes, as a source of tools.

    petstore = OpenApi("https://petstore.example/openapi.json", secrets={"api_key": "PETSTORE_KEY"})
    ToolRoute("find_pet", [petstore.tool("getPetById"), find_in_the_old_store], output=Pet)

This module only declares the service: `streams/executors` reads the document and calls the service.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from segue.processors.routing.policy import Policy
from segue.topics.errors import BadInput

BYTES_MAX = 10_000_000

IDEMPOTENCY_HEADER = "Idempotency-Key"
"""The header's name in draft-ietf-httpapi-idempotency-key-header, and before it at Stripe and others."""


@dataclass(frozen=True, eq=False)
class OpenApi:
    """A service with an OpenAPI 3.0 or 3.1 document. `source` is its URL, its file, or the document as a
    dict.

    `secrets` names, for each security scheme of the document, the environment variable that holds its secret
    (a key, a token, or `user:password` for basic authentication): the worker that makes the call reads it.
    `server` replaces the server of the document. A response of more than `bytes_max` bytes is refused.
    `idempotency_header` is the name of a header that is sent with each POST and PATCH, with the same value
    for every attempt of a step; None sends none.
    """

    source: str | Mapping[str, Any]
    name: str = ""
    server: str | None = None
    secrets: Mapping[str, str] = field(default_factory=dict[str, str])
    bytes_max: int = BYTES_MAX
    idempotency_header: str | None = IDEMPOTENCY_HEADER

    def __post_init__(self) -> None:
        if not self.source:
            raise BadInput("OpenApi needs a source: the URL, the file or the content of a document")
        if self.bytes_max < 1:
            raise BadInput(f"bytes_max must be positive: {self.bytes_max}")

    def tool(self, operation: str, *, policy: Policy | None = None) -> "OpenApiTool":
        """Return an operation by its `operationId`, or as `GET /pets/{id}` if it has none.

        `policy` applies when the tool is used by itself (`App(tools=[…])`); in a route, the route's policy
        applies.
        """
        return OpenApiTool(self, operation, policy)

    @cached_property
    def label(self) -> str:
        """Return the label of its tools: the name, or else the URL's host, the file's name or the title."""
        if self.name:
            return self.name
        if not isinstance(self.source, str):
            return str(self.source.get("info", {}).get("title", "openapi")).strip().lower().replace(" ", "_")
        _, is_url, rest = self.source.partition("://")
        if is_url:
            return rest.partition("/")[0].rpartition("@")[2]
        return self.source.rpartition("/")[2].partition(".")[0]


@dataclass(frozen=True, eq=False)
class OpenApiTool:
    """One operation: a candidate of a `ToolRoute`, or a tool of the app by itself.

    Its arguments are the operation's parameters by name, and `body`.
    """

    api: OpenApi
    operation: str
    policy: Policy | None = None

    @property
    def name(self) -> str:
        return f"{self.api.label}.{self.operation}"
