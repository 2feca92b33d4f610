"""MCP servers with faults: in their listings, answers, output and sessions, and whose worker dies."""

import logging
import sys
from collections.abc import AsyncGenerator
from pathlib import Path

import pytest

from segue.processors.routing.mcp import McpServer
from segue.streams.executors.mcp import processes as mcp_processes
from segue.streams.executors.mcp.client import Connection
from segue.streams.executors.mcp.processes import WholeLines
from segue.topics.errors import Permanent

SERVERS = Path(__file__).parent / "servers"


def faulty(fault: str, *more: str) -> McpServer:
    return McpServer("odd", (sys.executable, str(SERVERS / "faulty_server.py"), fault, *more))


@pytest.fixture
async def connection(request: pytest.FixtureRequest) -> AsyncGenerator[Connection]:
    connection = Connection(faulty(request.param), connect_s_max=60)
    yield connection
    await connection.stop()


def with_fault(fault: str) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("connection", [fault], indirect=True)


# ---------------------------------------------------------------- listings


@with_fault("malformed")
async def test_a_malformed_tool_is_left_out_and_the_others_work(
    connection: Connection, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        assert await connection.call("good", {}, "t/1") == "done"
        with pytest.raises(Permanent, match="tool 'odd' can't be called, its listing can't be read: "):
            await connection.call("odd", {}, "t/2")
        with pytest.raises(Permanent, match="'odd': no tool 'other'; there are: good"):
            await connection.call("other", {}, "t/3")
    left_out = {record.args[1] for record in caplog.records if "is left out" in record.msg}  # type: ignore[index]
    assert left_out == {"odd", "no_schema", "number 4", "number 5", "number 6"}
    assert {record.args[0] for record in caplog.records if "is left out" in record.msg} == {"odd"}  # type: ignore[index]


@with_fault("no-list")
async def test_a_listing_that_is_none_names_its_server(connection: Connection) -> None:
    with pytest.raises(Permanent, match=r"odd\.good: the server's answer: tools"):
        await connection.call("good", {}, "t/1")


@with_fault("twice")
async def test_of_two_tools_of_one_name_the_first_counts(
    connection: Connection, caplog: pytest.LogCaptureFixture
) -> None:
    assert await connection.call("good", {}, "t/1") == "done"
    assert "MCP server 'odd' lists tool 'good' twice: the first counts" in caplog.text


@with_fault("circle")
async def test_a_listing_that_goes_in_a_circle_is_given_up(connection: Connection) -> None:
    with pytest.raises(Permanent, match="MCP server 'odd': its listing of tools does not end, after 2 pages"):
        await connection.call("good", {}, "t/1")


@with_fault("huge")
async def test_a_listing_may_be_long(connection: Connection) -> None:
    assert await connection.call("t19999", {}, "t/1") == "done"


# ---------------------------------------------------------------- answers and output


@with_fault("no-result")
async def test_an_answer_that_is_none_names_its_server(connection: Connection) -> None:
    with pytest.raises(Permanent, match=r"odd\.good: the server's answer: content"):
        await connection.call("good", {}, "t/1")


@with_fault("stdout")
async def test_what_is_no_message_of_the_protocol_is_passed_over(connection: Connection) -> None:
    assert await connection.call("good", {}, "t/1") == "done"
    assert await connection.call("good", {}, "t/2") == "done"


@with_fault("long")
async def test_a_long_answer_reaches_the_sdk_in_one_piece(
    connection: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It looks through all that it has of a line with each piece of it."""
    pieces = 0

    class Counted(WholeLines):
        async def receive(self, max_bytes: int = 65_536) -> bytes:
            nonlocal pieces
            pieces += 1
            return await super().receive(max_bytes)

    monkeypatch.setattr(mcp_processes, "WholeLines", Counted)
    assert len(await connection.call("good", {}, "t/1")) == 30_000_000
    assert pieces < 20


@pytest.mark.parametrize("connection", ["stderr", "stderr-lines"], indirect=True)
async def test_a_flood_on_standard_error_is_bounded(
    connection: Connection, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO):
        assert await connection.call("good", {}, "t/1") == "done"
        await connection.stop()
    written = [record.getMessage() for record in caplog.records if ".stderr." in record.name]
    assert sum(map(len, written)) < 2_000_000
