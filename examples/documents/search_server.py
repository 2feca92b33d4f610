"""An MCP server with one tool, the search of the folder: `python -m examples.documents.search_server`."""

from typing import Annotated

from mcp.server.mcpserver import MCPServer
from pydantic import Field

from . import library
from .models import Passages

server = MCPServer("documents", instructions="Finds what the documents of a folder say.")


@server.tool()
def search_documents(
    query: Annotated[str, Field(description="What it is about, in words that the documents may use")],
    limit: Annotated[int, Field(ge=1, le=50)] = 12,
) -> Passages:
    """The paragraphs that fit best, the best first, each with its document, title and heading."""
    return Passages(passages=library.search(query, limit))


if __name__ == "__main__":
    server.run("stdio")
