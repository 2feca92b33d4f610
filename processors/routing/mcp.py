"""MCP servers and their tools, as an app declares them."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from segue.topics.errors import BadInput

IDEMPOTENCY_KEY = "segue/idempotency-key"
"""A key in the `_meta` of every call; its value is the same for every attempt of a step."""

RETRYABLE = "segue/retryable"
"""A key in the `_meta` of a result: `false` means that a retry is useless."""


@dataclass(frozen=True)
class McpServer:
    """An MCP server, by `command` (stdio) or by `url` (streamable HTTP).

    `env` is added to the few variables that a stdio server inherits; `headers` are sent with each HTTP
    request. A worker makes at most `calls_max` calls of the server at the same time: more calls wait, and
    their timeouts run while they wait.
    """

    name: str
    command: tuple[str, ...] = ()
    url: str | None = None
    env: Mapping[str, str] = field(default_factory=dict[str, str], hash=False)
    cwd: str | None = None
    headers: Mapping[str, str] = field(default_factory=dict[str, str], hash=False)
    calls_max: int = 10_000

    def __post_init__(self) -> None:
        if self.calls_max < 1:
            raise BadInput(f"MCP server {self.name!r} needs calls_max of at least 1, not {self.calls_max}")
        words: Any = self.command
        if isinstance(words, str) or not all(isinstance(word, str) for word in words):
            raise BadInput(
                f"MCP server {self.name!r}: its command must be a tuple of words, such as ('python', "
                f"'-m', 'search_server'), not {self.command!r}"
            )
        object.__setattr__(self, "command", tuple(self.command))
        if bool(self.command) == bool(self.url):
            raise BadInput(f"MCP server {self.name!r} needs either a command or a url, not both")

    def tool(self, name: str) -> "McpTool":
        return McpTool(self, name)


@dataclass(frozen=True)
class McpTool:
    """One tool of an MCP server: a candidate of a `ToolRoute`."""

    server: McpServer
    tool: str

    @property
    def name(self) -> str:
        return f"{self.server.name}.{self.tool}"
