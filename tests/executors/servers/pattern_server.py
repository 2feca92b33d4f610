"""An MCP server whose schemas have the patterns of other languages: `python pattern_server.py`."""

import asyncio
from typing import Any

from mcp.server import Server
from mcp.server.stdio import stdio_server
from mcp_types import CallToolResult, ListToolsResult, Tool

HANGS = r"^(\w+\s?)*$"
TEXT = "a" * 37 + "!"
CODE = {"type": "string", "pattern": r"^(?<country>\p{Lu}{2})-\d+$"}
SECURE = {"type": "string", "pattern": r"^(?=.*\d).{8,}$"}
TOOLS = [
    Tool(
        name="echo",
        input_schema={"type": "object", "properties": {"code": CODE, "password": SECURE}},
        output_schema={"type": "object", "properties": {"code": CODE}},
    ),
    Tool(
        name="hang",
        input_schema={"type": "object"},
        output_schema={"type": "object", "properties": {"text": {"type": "string", "pattern": HANGS}}},
    ),
]


async def list_tools(_: Any, __: Any) -> ListToolsResult:
    return ListToolsResult(tools=TOOLS)


async def call_tool(_: Any, params: Any) -> CallToolResult:
    answer = {"text": TEXT} if params.name == "hang" else params.arguments
    return CallToolResult(content=[], structured_content=answer)


async def main() -> None:
    server = Server("patterns", on_list_tools=list_tools, on_call_tool=call_tool)
    async with stdio_server() as (read, write):
        await server.run(read, write, server.create_initialization_options())


if __name__ == "__main__":
    asyncio.run(main())
