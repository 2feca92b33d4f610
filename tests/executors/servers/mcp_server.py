"""A real MCP server, by the SDK's own server class: `python mcp_server.py stdio LOG`, or `http PORT LOG`.

Each call adds a line to the file LOG, so that a test sees what arrived: also what was cancelled.
"""

import asyncio
import json
import os
import sys
from pathlib import Path
from typing import Any

from mcp.server import MCPServer
from mcp.server.mcpserver import Context
from mcp.server.mcpserver.exceptions import ToolError
from mcp_types import CallToolResult, ImageContent, TextContent
from pydantic import BaseModel

server = MCPServer("test")
LOG = Path(sys.argv[-1])


def note(**what: Any) -> None:
    with LOG.open("a") as log:
        log.write(json.dumps(what) + "\n")


class Hotel(BaseModel):
    name: str
    stars: int


@server.tool()
def hotel(name: str, stars: int) -> Hotel:
    return Hotel(name=name, stars=stars)


@server.tool()
def hotels(count: int) -> list[Hotel]:
    return [Hotel(name=f"h{n}", stars=n) for n in range(count)]


@server.tool(structured_output=False)
def text(what: str) -> Any:
    return CallToolResult(content=[TextContent(text=part, type="text") for part in what.split("|") if part])


@server.tool(structured_output=False)
def picture() -> Any:
    return CallToolResult(content=[ImageContent(type="image", data="AAAA", mime_type="image/png")])


@server.tool()
def key(context: Context[Any, Any]) -> str:
    return str((context.request_context.meta or {}).get("segue/idempotency-key"))


@server.tool()
def fail(why: str) -> str:
    raise ToolError(why)


@server.tool(structured_output=False)
def hopeless() -> Any:
    return CallToolResult(
        content=[TextContent(type="text", text="sold out")], is_error=True, _meta={"segue/retryable": False}
    )


@server.tool()
async def slow(seconds: float) -> str:
    note(began=os.getpid())
    try:
        await asyncio.sleep(seconds)
    except asyncio.CancelledError:
        note(cancelled=os.getpid())
        raise
    return "done"


@server.tool()
def die() -> str:
    print("out of memory, say", file=sys.stderr, flush=True)
    os._exit(1)


@server.tool()
async def learn(context: Context[Any, Any]) -> str:
    """From now on there is one tool more."""

    def learned() -> str:
        return "I know"

    server.add_tool(learned)
    return "learned"


def take(what: int) -> str:
    return str(what)


server.add_tool(take)


@server.tool()
async def change(context: Context[Any, Any]) -> str:
    """From now on `take` takes text; said in the way of 2026-07-28, and in that of before."""

    def take(what: str) -> str:
        return what

    server.remove_tool("take")
    server.add_tool(take)
    await context.notify_tools_changed()
    await context.request_context.session.send_tool_list_changed()
    return "changed"


async def note_listings(ctx: Any, call_next: Any) -> Any:
    if ctx.method == "tools/list":
        note(listed=os.getpid())
    return await call_next(ctx)


server._lowlevel_server.middleware.append(note_listings)  # pyright: ignore[reportPrivateUsage]


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["stdio", _]:
            note(started=os.getpid())
            server.run("stdio")
        case ["http", port, _]:
            server.run("streamable-http", port=int(port))
        case ["crash", _]:
            sys.exit("no database here")
        case _:
            raise SystemExit(__doc__)
