"""How programs and people get in and out: start, answer, signal, follow, list, and look at records.

The page, the command line and the MCP server are built on it, and stand in folders of their own.
"""
