"""Calls of MCP servers: sessions, listings, processes and results.

Workflows as tools of an MCP server of ours are in `segue.streams.mcp_server`.
"""

from segue.topics.extras import require

require("mcp")
