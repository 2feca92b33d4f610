"""Real MCP servers in processes of their own, over stdio and over HTTP; and their deaths."""

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncGenerator, Awaitable, Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

from segue.processors.app.app import App
from segue.processors.routing.mcp import McpServer
from segue.processors.routing.routes import ToolRoute
from segue.processors.stages.reply import Reply
from segue.streams.calls.failures import problem_of
from segue.streams.executors import ToolExecutor
from segue.streams.executors.mcp.client import Connection
from segue.topics.errors import Permanent, Retryable
from segue.topics.records import Problem
from tests.executors.calls import call_tool

SCRIPT = Path(__file__).parent / "servers" / "mcp_server.py"
HERE = {"PYTHONWARNINGS": "ignore"}

Call = Callable[..., Awaitable[Any]]


def stdio(log: Path, mode: str = "stdio") -> McpServer:
    return McpServer("hotels", command=(sys.executable, str(SCRIPT), mode, str(log)), env=HERE)


def noted(log: Path, what: str) -> list[int]:
    lines = [json.loads(line) for line in log.read_text().splitlines()] if log.exists() else []
    return [line[what] for line in lines if what in line]


async def until(true: Callable[[], Any]) -> None:
    async with asyncio.timeout(10):
        while not true():  # noqa: ASYNC110 - what is waited for is in another process
            await asyncio.sleep(0.02)


@pytest.fixture
def log(tmp_path: Path) -> Path:
    return tmp_path / "log"


@pytest.fixture
async def at_stdio(log: Path) -> AsyncGenerator[Connection]:
    connection = Connection(stdio(log))
    yield connection
    await connection.stop()


class HttpServer:
    """The server at a port that stays the same when it is started again."""

    def __init__(self, log: Path) -> None:
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port = free.getsockname()[1]
        self.log = log
        self.url = f"http://127.0.0.1:{self.port}/mcp"

    async def start(self) -> None:
        command = [sys.executable, str(SCRIPT), "http", str(self.port), str(self.log)]
        self.process = await asyncio.create_subprocess_exec(*command, stderr=subprocess.DEVNULL)
        async with httpx.AsyncClient() as client, asyncio.timeout(20):
            while True:
                try:
                    await client.get(self.url)
                except httpx.TransportError:
                    await asyncio.sleep(0.05)
                else:
                    return

    async def kill(self) -> None:
        self.process.kill()
        await self.process.wait()


@pytest.fixture
async def http(log: Path) -> AsyncGenerator[HttpServer]:
    server = HttpServer(log)
    await server.start()
    yield server
    await server.kill()


@pytest.fixture(params=["stdio", "http"])
async def connection(request: pytest.FixtureRequest, log: Path) -> AsyncGenerator[Connection]:
    if request.param == "stdio":
        connection = Connection(stdio(log))
        yield connection
        await connection.stop()
        return
    server = HttpServer(log)
    await server.start()
    connection = Connection(McpServer("hotels", url=server.url))
    yield connection
    await connection.stop()
    await server.kill()


# ---------------------------------------------------------------- results


async def test_every_kind_of_result_is_one_json_value(connection: Connection) -> None:
    calls: list[tuple[str, dict[str, Any], Any]] = [
        ("hotel", {"name": "a", "stars": 3}, {"name": "a", "stars": 3}),
        ("hotels", {"count": 2}, [{"name": "h0", "stars": 0}, {"name": "h1", "stars": 1}]),
        ("text", {"what": "plain"}, "plain"),
        ("text", {"what": "a|b"}, "a\nb"),
        ("text", {"what": '{"a": 1}'}, {"a": 1}),
        ("text", {"what": "42"}, "42"),
        ("text", {"what": "[not json"}, "[not json"),
        ("text", {"what": ""}, None),
        ("picture", {}, [{"type": "image", "data": "AAAA", "mimeType": "image/png"}]),
        ("key", {}, "t1/3"),
    ]
    for tool, arguments, expected in calls:
        assert await connection.call(tool, arguments, "t1/3") == expected


async def test_calls_go_side_by_side_over_one_session(connection: Connection, log: Path) -> None:
    async with asyncio.timeout(15):
        await asyncio.gather(*(connection.call("slow", {"seconds": 0.3}, f"t/{n}") for n in range(8)))
    assert len(set(noted(log, "began"))) == 1


async def test_the_executor_calls_a_candidate_that_is_an_mcp_tool(log: Path) -> None:
    executor = ToolExecutor(App("a", workflows=[], routes=[ToolRoute("find", [stdio(log).tool("hotel")])]))
    assert await executor(call_tool("find", {"name": "a", "stars": 3})) == Reply(
        {"name": "a", "stars": 3}, "hotels.hotel"
    )
    await executor.stop()
    (pid,) = noted(log, "started")
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


# ---------------------------------------------------------------- errors


async def problem(connection: Connection, tool: str, arguments: dict[str, Any]) -> Problem:
    with pytest.raises((Retryable, Permanent)) as failure:
        await connection.call(tool, arguments, "t1/3")
    return problem_of(failure.value)


async def test_an_error_result_is_retryable_unless_it_denies_it(connection: Connection) -> None:
    assert await problem(connection, "fail", {"why": "no room"}) == Problem(
        type="Retryable", message="Error executing tool fail: no room"
    )
    assert await problem(connection, "hopeless", {}) == Problem(
        type="Permanent", message="sold out", retryable=False
    )


async def test_an_unknown_tool_is_refused_with_those_there_are(connection: Connection) -> None:
    assert await problem(connection, "nope", {}) == Problem(
        type="Permanent",
        message="MCP server 'hotels': no tool 'nope'; there are: "
        "change, die, fail, hopeless, hotel, hotels, key, learn, picture, slow, take, text",
        retryable=False,
    )


async def test_arguments_that_do_not_fit_are_refused(connection: Connection) -> None:
    assert await problem(connection, "hotel", {"name": "a", "stars": "x"}) == Problem(
        type="Permanent",
        message="MCP server 'hotels': tool 'hotel' can't be called: stars: 'x' is not of type 'integer'",
        retryable=False,
    )


async def test_a_tool_that_appeared_later_is_found(connection: Connection) -> None:
    await problem(connection, "learned", {})
    await connection.call("learn", {}, "t/1")
    assert await connection.call("learned", {}, "t/2") == "I know"


async def test_a_tool_that_has_changed_is_known_as_it_is_now(connection: Connection) -> None:
    """What the kept listing would let through is refused by the new one: the server has told of it."""
    assert await connection.call("take", {"what": 1}, "t/1") == "1"
    await connection.call("change", {}, "t/2")
    async with asyncio.timeout(10):
        while (found := await problem(connection, "take", {"what": 1})).retryable:  # noqa: ASYNC110
            await asyncio.sleep(0.05)
    assert found.message.endswith("tool 'take' can't be called: what: 1 is not of type 'string'")
    assert await connection.call("take", {"what": "x"}, "t/3") == "x"


async def test_many_calls_at_once_read_the_listing_once(at_stdio: Connection, log: Path) -> None:
    await asyncio.gather(*(at_stdio.call("hotels", {"count": 0}, f"t/{n}") for n in range(20)))
    assert len(noted(log, "listed")) == 1


async def test_a_server_is_asked_no_more_at_once_than_it_may(log: Path) -> None:
    connection = Connection(McpServer("hotels", command=stdio(log).command, env=HERE, calls_max=2))
    calls = [asyncio.create_task(connection.call("slow", {"seconds": 60}, f"t/{n}")) for n in range(3)]
    await until(lambda: len(noted(log, "began")) == 2)
    await asyncio.sleep(0.3)
    assert len(noted(log, "began")) == 2
    calls[0].cancel()
    await until(lambda: len(noted(log, "began")) == 3)
    for call in calls:
        call.cancel()
    await asyncio.wait(calls)
    await connection.stop()


# ---------------------------------------------------------------- cancellation


async def test_a_cancelled_call_is_cancelled_at_the_server_and_the_session_stays(
    connection: Connection, log: Path
) -> None:
    call = asyncio.create_task(connection.call("slow", {"seconds": 60}, "t/1"))
    await until(lambda: noted(log, "began"))
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    await until(lambda: noted(log, "cancelled"))
    assert await connection.call("hotels", {"count": 0}, "t/2") == []
    assert len(set(noted(log, "began"))) == 1


# ---------------------------------------------------------------- deaths


async def test_a_server_killed_in_a_call_is_started_again(at_stdio: Connection, log: Path) -> None:
    call = asyncio.create_task(problem(at_stdio, "slow", {"seconds": 60}))
    await until(lambda: noted(log, "began"))
    os.kill(noted(log, "began")[0], signal.SIGKILL)
    async with asyncio.timeout(5):
        found = await call
    assert found.retryable
    assert found.message.startswith("MCP server 'hotels' ended during the call")
    assert await at_stdio.call("hotels", {"count": 0}, "t/2") == []
    assert len(noted(log, "started")) == 2


async def test_a_dying_server_is_quoted(at_stdio: Connection) -> None:
    assert await problem(at_stdio, "die", {}) == Problem(
        type="Retryable",
        message="MCP server 'hotels' ended during the call; it last wrote: out of memory, say",
    )


async def test_a_server_that_died_while_idle_costs_no_attempt(at_stdio: Connection, log: Path) -> None:
    await at_stdio.call("hotels", {"count": 0}, "t/1")
    os.kill(noted(log, "started")[0], signal.SIGKILL)
    await until(lambda: at_stdio._session is None or at_stdio._session.ended)  # pyright: ignore[reportPrivateUsage]
    assert await at_stdio.call("hotels", {"count": 0}, "t/2") == []


async def test_a_session_that_is_over_leaves_nothing_behind(at_stdio: Connection, log: Path) -> None:
    for _ in range(3):
        await at_stdio.call("hotels", {"count": 0}, "t/1")
        os.kill(noted(log, "started")[-1], signal.SIGKILL)
        await until(lambda: at_stdio._session is None or at_stdio._session.ended)  # pyright: ignore[reportPrivateUsage]
    await at_stdio.call("hotels", {"count": 0}, "t/2")
    await until(lambda: [each.get_name() for each in asyncio.all_tasks()].count("mcp-hotels") == 1)


async def test_a_server_that_hangs_in_a_call_is_killed_and_started_again(log: Path) -> None:
    """It stands still, alive: nothing but silence tells of it."""
    connection = Connection(stdio(log), alive_s_max=1)
    await connection.call("hotels", {"count": 0}, "t/1")
    (pid,) = noted(log, "started")
    os.kill(pid, signal.SIGSTOP)
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(connection.call("hotels", {"count": 0}, "t/2"), 0.5)
    await until(lambda: not Path(f"/proc/{pid}").exists())
    assert await connection.call("hotels", {"count": 0}, "t/3") == []
    assert len(noted(log, "started")) == 2
    await connection.stop()


async def test_a_server_that_is_only_slow_is_left_alone(log: Path) -> None:
    connection = Connection(stdio(log), alive_s_max=1)
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(connection.call("slow", {"seconds": 60}, "t/1"), 5)
    await asyncio.sleep(1.5)
    assert await connection.call("hotels", {"count": 0}, "t/2") == []
    assert len(noted(log, "started")) == 1
    await connection.stop()


async def test_an_http_server_killed_in_a_call_is_found_again(http: HttpServer, log: Path) -> None:
    connection = Connection(McpServer("hotels", url=http.url))
    call = asyncio.create_task(problem(connection, "slow", {"seconds": 60}))
    await until(lambda: noted(log, "began"))
    await http.kill()
    async with asyncio.timeout(10):
        assert (await call).retryable
    down = await problem(connection, "hotels", {"count": 0})
    assert (down.retryable, "can't be reached" in down.message or "ended" in down.message) == (True, True)
    await http.start()
    assert await connection.call("hotels", {"count": 0}, "t/2") == []
    await connection.stop()


HANGS = """
import os, pathlib, signal, sys, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
pathlib.Path(sys.argv[1]).write_text(str(os.getpid()))
time.sleep(600)
"""


async def test_a_server_that_hangs_at_its_start_is_killed_and_retried(log: Path) -> None:
    connection = Connection(McpServer("hotels", (sys.executable, "-c", HANGS, str(log))), connect_s_max=3)
    assert await problem(connection, "hotel", {}) == Problem(
        type="Retryable", message="MCP server 'hotels' did not answer within 3 s of its start"
    )
    await until(lambda: not Path(f"/proc/{log.read_text()}").exists())
    await connection.stop()


async def test_a_server_that_ends_at_its_start_is_quoted(log: Path) -> None:
    connection = Connection(stdio(log, "crash"))
    assert await problem(connection, "hotel", {}) == Problem(
        type="Retryable", message="MCP server 'hotels' ended at its start; it last wrote: no database here"
    )
    await connection.stop()


async def test_a_command_that_is_not_there_is_permanent() -> None:
    found = await problem(Connection(McpServer("hotels", command=("/no/such/server",))), "hotel", {})
    assert (found.retryable, "/no/such/server" in found.message) == (False, True)


async def test_an_http_server_that_is_not_there_is_retryable() -> None:
    found = await problem(Connection(McpServer("hotels", url="http://127.0.0.1:9/mcp")), "hotel", {})
    assert (found.retryable, found.message.startswith("MCP server 'hotels' can't be reached: ")) == (
        True,
        True,
    )


@pytest.mark.parametrize(
    ("status", "retryable"), [("401 Unauthorized", False), ("503 Service Unavailable", True)]
)
async def test_an_http_server_that_refuses_says_its_status(status: str, retryable: bool) -> None:
    async def refuse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(f"HTTP/1.1 {status}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n".encode())
        await writer.drain()
        writer.close()

    async with await asyncio.start_server(refuse, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        connection = Connection(McpServer("hotels", url=f"http://127.0.0.1:{port}/mcp"))
        found = await problem(connection, "hotel", {})
    assert (found.retryable, f"HTTP {status}" in found.message) == (retryable, True)
