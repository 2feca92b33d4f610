"""Patterns in the schemas of MCP servers and OpenAPI documents, on the way to a call and back."""

import logging
import sys
from pathlib import Path

import pytest

from segue.processors.routing.mcp import McpServer
from segue.processors.routing.openapi import OpenApi
from segue.streams.executors.mcp.client import Connection
from segue.streams.executors.openapi.client import Service
from segue.topics.errors import Permanent, Retryable

SERVER = Path(__file__).parent / "servers" / "pattern_server.py"
UNUSABLE = r"pattern '^(?=.*\\d).{8,}$' is not checked: it has a lookahead or lookbehind"


async def test_an_mcp_servers_patterns_are_of_its_dialect_and_take_no_time(
    caplog: pytest.LogCaptureFixture,
) -> None:
    connection = Connection(McpServer("codes", (sys.executable, str(SERVER))))
    try:
        with caplog.at_level(logging.WARNING):
            assert await connection.call("echo", {"code": "ÉU-12"}, "k") == {"code": "ÉU-12"}
            assert await connection.call("echo", {"password": "none"}, "k") == {"password": "none"}
            for _ in range(2):
                with pytest.raises(Permanent, match=r"code: 'eu-12' does not match"):
                    await connection.call("echo", {"code": "eu-12"}, "k")
            with pytest.raises(Retryable, match=r"tool 'hang' answered outside of its output schema: text: "):
                await connection.call("hang", {}, "k")
    finally:
        await connection.stop()
    told = [line for line in caplog.messages if UNUSABLE in line]
    assert [line.partition(" pattern")[0] for line in told] == ["MCP server 'codes': tool 'echo':"]


async def test_an_openapi_documents_pattern_that_can_not_be_used_is_told_of_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    schema = {"type": "string", "pattern": r"^(?=.*\d).{8,}$"}
    parameters = [{"name": "password", "in": "query", "schema": schema}]
    paths = {"/x": {"get": {"operationId": "x", "parameters": parameters}}}
    unreachable = "http://127.0.0.1:1"
    service = Service(OpenApi({"openapi": "3.1.0", "paths": paths}, name="codes", server=unreachable))
    with caplog.at_level(logging.WARNING):
        for _ in range(2):
            with pytest.raises(Retryable, match="no connection"):
                await service.call("x", {"password": "none"}, "k")
    await service.stop()
    assert [UNUSABLE in line and line.startswith("codes: ") for line in caplog.messages] == [True]
