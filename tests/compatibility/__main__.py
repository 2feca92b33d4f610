"""Calls a tool of each of these MCP servers, as a worker would, and writes the table in docs/tools.md.

    python -m tests.compatibility           installs the newest of each into a folder of its own; needs npm
    python -m tests.compatibility NAME…     tries these alone, and writes nothing

Each is called over stdio, then killed, and called again.
"""

import asyncio
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import AsyncGenerator, Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psutil

from segue.processors.routing.mcp import McpServer
from segue.streams.executors.mcp.client import Connection

PAGE = Path(__file__).parents[2] / "docs/tools.md"
PATIENCE_S = 300.0
UV = str(Path(sys.executable).parent / "uv")


@dataclass(frozen=True)
class Tried:
    """`expected` is a part of what the tool returns. `{home}` in an argument is a folder with a file."""

    package: str
    source: str
    tool: str
    arguments: dict[str, Any]
    expected: str
    command: str
    options: tuple[str, ...] = ()


NPM, PYPI = "npm", "PyPI"
REFERENCE = "@modelcontextprotocol/server"

ALL = [
    Tried("mcp-server-time", PYPI, "get_current_time", {"timezone": "UTC"}, "datetime", "mcp-server-time"),
    Tried("mcp-server-git", PYPI, "git_status", {"repo_path": "{home}"}, "branch", "mcp-server-git"),
    Tried("mcp-server-fetch", PYPI, "fetch", {"url": "http://127.0.0.1:9/"}, "", "mcp-server-fetch"),
    Tried("mcp-server-calculator", PYPI, "calculate", {"expression": "6*7"}, "42", "mcp-server-calculator"),
    Tried(f"{REFERENCE}-everything", NPM, "echo", {"message": "hello"}, "hello", "mcp-server-everything"),
    Tried(
        f"{REFERENCE}-filesystem", NPM, "list_directory", {"path": "{home}"}, "a-file",
        "mcp-server-filesystem", ("{home}",),
    ),
    Tried(f"{REFERENCE}-memory", NPM, "read_graph", {}, "entities", "mcp-server-memory"),
    Tried(
        f"{REFERENCE}-sequential-thinking", NPM, "sequentialthinking",
        {"thought": "so", "thoughtNumber": 1, "totalThoughts": 1, "nextThoughtNeeded": False},
        "thoughtNumber", "mcp-server-sequential-thinking",
    ),
    Tried(
        "mcp-server-commands", NPM, "run_command", {"command": "echo hi"}, "hi",
        "mcp-server-commands",
    ),
]  # fmt: skip


async def main() -> None:
    """Try them all, or those that are named."""
    rows = [row async for row in _rows(Path(tempfile.mkdtemp(prefix="segue-compatibility-")))]
    if sys.argv[1:]:
        return
    today = datetime.now(UTC).date()
    head = f"| Server | Version | From | Protocol | Tools | Called ({today}) |\n|---|---|---|---|---|---|\n"
    table = f"<!-- servers -->\n{head}{''.join(rows)}<!-- /servers -->"
    page = PAGE.read_text()
    PAGE.write_text(re.sub(r"<!-- servers -->.*<!-- /servers -->", lambda _: table, page, flags=re.DOTALL))


async def _rows(folder: Path) -> AsyncGenerator[str]:
    try:
        for tried in [each for each in ALL if not sys.argv[1:] or each.package in sys.argv[1:]]:
            row = await _row(tried, folder / tried.command)
            print(row, end="", flush=True)
            yield row
    finally:
        shutil.rmtree(folder, ignore_errors=True)


async def _row(tried: Tried, folder: Path) -> str:
    home = folder / "home"
    home.mkdir(parents=True)
    (home / "a-file").touch()
    await asyncio.to_thread(_run, "git", "init", "-q", str(home))
    try:
        version, command = await asyncio.to_thread(_installed, tried, folder)
        said = await asyncio.wait_for(_called(tried, command, home), PATIENCE_S)
    except Exception as error:  # noqa: BLE001 - the table says what went wrong
        version, said = "", ("", "", f"failed: {' '.join(str(error).split())[:120]}")
    return f"| {tried.package} | {version} | {tried.source} | {' | '.join(said)} |\n"


def _installed(tried: Tried, folder: Path) -> tuple[str, str]:
    """Its version, and the path of its command."""
    if tried.source == NPM:
        _run("npm", "install", "--silent", "--no-fund", "--prefix", str(folder), tried.package)
        about = json.loads((folder / "node_modules" / tried.package / "package.json").read_text())
        return str(about["version"]), str(folder / "node_modules/.bin" / tried.command)
    python = folder / "venv/bin/python"
    _run(UV, "venv", "--quiet", "--python", sys.executable, str(folder / "venv"))
    _run(UV, "pip", "install", "--quiet", "--python", str(python), tried.package)
    asked = f"from importlib.metadata import version; print(version({tried.package!r}))"
    return _run(str(python), "-c", asked).strip(), str(python.parent / tried.command)


def _run(*command: str) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{command[0]}: {done.stderr[-300:]}")
    return done.stdout


async def _called(tried: Tried, command: str, home: Path) -> tuple[str, str, str]:
    fill: Callable[[str], str] = lambda text: text.replace("{home}", str(home))  # noqa: E731
    arguments = {k: fill(v) if isinstance(v, str) else v for k, v in tried.arguments.items()}
    options = tuple(fill(option) for option in tried.options)
    env = {"PATH": os.environ["PATH"]}
    connection = Connection(
        McpServer("tried", command=(command, *options), env=env, cwd=str(home)), connect_s_max=120
    )
    try:
        await _expect(connection, tried, arguments)
        session = connection._session  # pyright: ignore[reportPrivateUsage]
        assert session is not None
        listed = len((await session.client.list_tools()).tools)
        protocol = session.client.protocol_version
        for child in psutil.Process().children():
            child.kill()
        while not session.ended:  # noqa: ASYNC110 - another process
            await asyncio.sleep(0.05)
        await _expect(connection, tried, arguments)
    finally:
        await connection.stop()
    return protocol, str(listed), f"`{tried.tool}`, killed, `{tried.tool}`"


async def _expect(connection: Connection, tried: Tried, arguments: dict[str, Any]) -> None:
    try:
        said = str(await connection.call(tried.tool, arguments, "compatibility/1"))
    except Exception as error:
        if tried.expected:
            raise
        said = str(error)  # it has no way to the outside here: that it says so is its answer
    if tried.expected not in said:
        raise RuntimeError(f"{tried.tool} said {said[:100]!r}")


if __name__ == "__main__":
    asyncio.run(main())
