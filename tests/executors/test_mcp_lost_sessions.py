"""Sessions that an HTTP server no longer knows, and servers that outlive the worker that started them."""

import asyncio
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Generator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from segue.processors.routing.mcp import McpServer
from segue.streams.executors.mcp.client import Connection
from segue.topics.errors import Permanent, Retryable

SERVERS = Path(__file__).parent / "servers"


def error(code: int, message: str) -> dict[str, Any]:
    return {"jsonrpc": "2.0", "id": None, "error": {"code": code, "message": message}}


class Sessions(ThreadingHTTPServer):
    """A server with sessions, which answers to one that it does not know as `unknown` says."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.unknown: tuple[int, Any] = (404, None)
        self.refuses_all = False
        self.known: set[str] = set()
        self.opened = 0
        self.keys: list[str | None] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/mcp"

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that leaves its session hangs up in the middle."""
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)

    def restart(self) -> None:
        """As far as clients see: it knows no session any more."""
        self.known.clear()


class Handler(BaseHTTPRequestHandler):
    server: Sessions  # pyright: ignore[reportIncompatibleVariableOverride]
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        asked = json.loads(self.rfile.read(int(self.headers["content-length"])))
        session = self.headers.get("mcp-session-id")
        if asked["method"] == "initialize":
            self._initialize(asked)
        elif asked["method"] == "server/discover" or "id" not in asked:
            self._say(404 if "id" in asked else 202, None)
        elif session not in self.server.known or self.server.refuses_all:
            status, body = self.server.unknown
            self._say(status, body)
        else:
            self._answer(asked)

    def do_GET(self) -> None:
        self._say(405, None)

    do_DELETE = do_GET  # noqa: N815

    def _initialize(self, asked: Any) -> None:
        self.server.opened += 1
        session = f"s{self.server.opened}"
        self.server.known.add(session)
        result: dict[str, Any] = {
            "protocolVersion": asked["params"]["protocolVersion"],
            "capabilities": {"tools": {}},
            "serverInfo": {"name": "sessions", "version": "1"},
        }
        self._say(200, {"jsonrpc": "2.0", "id": asked["id"], "result": result}, session)

    def _answer(self, asked: Any) -> None:
        result: Any = {"tools": [{"name": "good", "inputSchema": {"type": "object"}}]}
        if asked["method"] == "tools/call":
            self.server.keys.append(asked["params"].get("_meta", {}).get("segue/idempotency-key"))
            result = {"content": [{"type": "text", "text": "done"}]}
        self._say(200, {"jsonrpc": "2.0", "id": asked["id"], "result": result})

    def _say(self, status: int, body: Any, session: str | None = None) -> None:
        sent = b"" if body is None else body if isinstance(body, bytes) else json.dumps(body).encode()
        self.send_response(status)
        self.send_header("content-length", str(len(sent)))
        self.send_header("content-type", "text/plain" if isinstance(body, bytes) else "application/json")
        if session is not None:
            self.send_header("mcp-session-id", session)
        self.end_headers()
        self.wfile.write(sent)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
        pass


@pytest.fixture
def sessions() -> Generator[Sessions]:
    with Sessions() as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


UNKNOWN: dict[str, tuple[int, Any]] = {
    "404": (404, None),
    "404 with an error": (404, error(-32001, "Session not found")),
    "400 with an error": (400, error(-32000, "Bad Request: No valid session ID provided")),
    "400 with another error": (400, error(-32600, "no")),
    "400 in text": (400, b"Invalid or missing session ID"),
}


@pytest.mark.parametrize("how", UNKNOWN)
async def test_a_session_that_its_server_forgot_costs_no_attempt(sessions: Sessions, how: str) -> None:
    sessions.unknown = UNKNOWN[how]
    connection = Connection(McpServer("hotels", url=sessions.url))
    for number in range(3):
        assert await connection.call("good", {}, f"t/{number}") == "done"
        sessions.restart()
    together = await asyncio.gather(*(connection.call("good", {}, "t/9") for _ in range(4)))
    assert together == ["done"] * 4
    assert sessions.keys == ["t/0", "t/1", "t/2", *["t/9"] * 4]
    await connection.stop()


@pytest.mark.parametrize("how", UNKNOWN)
async def test_a_server_that_refuses_a_new_session_too_is_not_asked_again(
    sessions: Sessions, how: str
) -> None:
    sessions.unknown = UNKNOWN[how]
    connection = Connection(McpServer("hotels", url=sessions.url))
    assert await connection.call("good", {}, "t/1") == "done"
    sessions.refuses_all = True
    with pytest.raises((Retryable, Permanent), match="MCP server 'hotels'"):
        await connection.call("good", {}, "t/2")
    assert sessions.opened == 2
    sessions.refuses_all = False
    assert await connection.call("good", {}, "t/3") == "done"
    await connection.stop()


@pytest.mark.parametrize("kind", ["route", "agent"])
def test_a_server_that_hangs_does_not_outlive_its_worker(kind: str, tmp_path: Path) -> None:
    started = tmp_path / "started"
    command = [sys.executable, str(SERVERS / "holds_server.py"), kind, "hangs", str(started)]
    root = str(Path(__file__).parents[2])
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, cwd=root, env={**os.environ, "PYTHONPATH": root}
    ) as worker:
        assert worker.stdout is not None
        assert worker.stdout.readline() == b"held\n"
        worker.send_signal(signal.SIGKILL)
    pid = int(started.read_text().splitlines()[0])
    for _ in range(200):
        if not _lives(pid):
            return
        threading.Event().wait(0.1)
    raise AssertionError(f"the server {pid} lives on")


def _lives(pid: int) -> bool:
    """Whether it runs: one that nobody has waited for yet does not."""
    import psutil

    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
