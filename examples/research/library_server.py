"""An MCP server with one tool, the search, on stdio: `python -m examples.research.library_server`.

`RESEARCH_FAIL` is a word: a search for it fails, as if the server were broken.
"""

import os
from typing import Annotated

from mcp.server.mcpserver import MCPServer
from mcp.server.mcpserver.exceptions import ToolError
from pydantic import Field

from . import library
from .models import Passages

FAIL = os.environ.get("RESEARCH_FAIL")
server = MCPServer("library", instructions="Searches documents of a town.", log_level="WARNING")


@server.tool()
def search(
    query: Annotated[str, Field(description="A few words that the passage should have")],
    limit: Annotated[int, Field(ge=1, le=50)] = 5,
) -> Passages:
    """Passages of the documents, the best first."""
    if FAIL and FAIL in query.split():
        raise ToolError(f"the index of {FAIL!r} can't be read")
    return Passages(passages=library.search(query, limit))


if __name__ == "__main__":
    server.run("stdio")
