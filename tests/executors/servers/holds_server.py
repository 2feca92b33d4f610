"""A worker's part that holds an MCP server, until it is killed: `python holds_server.py KIND FAULT FILE`."""

import asyncio
import sys
from pathlib import Path

from fastmcp.client.transports import StdioTransport
from pydantic_ai.mcp import MCPToolset

from segue.processors.routing.mcp import McpServer
from segue.streams.executors.mcp.agents import served
from segue.streams.executors.mcp.client import Connection

SERVER = str(Path(__file__).with_name("faulty_server.py"))


async def main(kind: str, fault: str, file: str) -> None:
    command = (sys.executable, SERVER, fault, file)
    if kind == "route":
        assert await Connection(McpServer("held", command)).call("good", {}, "t/1") == "done"
    else:
        toolset = MCPToolset[None](StdioTransport(command[0], [*command[1:]]), id="held", init_timeout=60)
        with served("guide.held", "t/1"):
            assert await toolset.direct_call_tool("good", {}) == "done"
    print("held", flush=True)
    await asyncio.sleep(600)


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
