"""A service that an OpenAPI document describes, as a source of tools.

    petstore = OpenApi("https://petstore.example/openapi.json", secrets={"api_key": "PETSTORE_KEY"})
    ToolRoute("find_pet", [petstore.tool("getPetById"), find_in_the_old_store], output=Pet)

Only declared here: the document is read, and the service called, by `streams/executors`.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from segue.processors.routing.policy import Policy
from segue.topics.errors import BadInput

BYTES_MAX = 10_000_000

IDEMPOTENCY_HEADER = "Idempotency-Key"
"""As draft-ietf-httpapi-idempotency-key-header calls it, and Stripe and others before it."""


@dataclass(frozen=True, eq=False)
class OpenApi:
    """`source`: a document of OpenAPI 3.0 or 3.1, by its URL, by its file, or as the JSON object that it is.

    `secrets` names, for each security scheme of the document, the environment variable that holds its secret
    (a key, a token, or `user:password` for basic authentication): it is read where the call is made.
    `server` is called in place of the document's own. A response over `bytes_max` is refused.
    `idempotency_header` goes with each POST and PATCH, the same for every attempt of a step; None: no such.
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
        """An operation by its `operationId`; where it has none, as `GET /pets/{id}`.

        `policy` is that of the tool by itself (`App(tools=[…])`); in a route the route's own holds.
        """
        return OpenApiTool(self, operation, policy)

    @cached_property
    def label(self) -> str:
        """What its tools are called by: the name, else the URL's host, the file's name or the title."""
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
