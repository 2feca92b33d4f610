"""Segue as an MCP server: each workflow of an app is a tool to any MCP client.

    tools/list ─▶ listing     a tool for each workflow, and three for tasks that are known by their id
    tools/call ─▶ calls       which task is meant: start it, or come back to it; answer or cancel one
                  watching    tell its progress, put its questions, end with its result
                  forms       a question as the form of an elicitation, and the form as an answer

A gateway and nothing more: all that it knows of a task it reads from the topics. So any number of them may
run, and one that died is replaced by another, which is asked with the same task id.
"""

from segue.streams.mcp_server.calls import Terms
from segue.streams.mcp_server.server import listening_at, serve_http, serve_stdio, server_of

__all__ = ["Terms", "listening_at", "serve_http", "serve_stdio", "server_of"]
