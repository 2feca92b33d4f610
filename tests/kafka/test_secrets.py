"""Secrets that fail with all that holds them: none is on a topic, in a log, in an error or in a metric."""

import asyncio
import sys
from collections.abc import AsyncGenerator
from pathlib import Path

import httpx
import pytest_asyncio
from pydantic import SecretStr

from segue.streams.client.client import Client
from segue.streams.client.redrive import Range, records_of
from segue.streams.kafka.provisioning import provision
from segue.streams.settings import Settings
from segue.topics.contracts import ALL
from tests.kafka.conftest import free_port, worker_environment

APP = Path(__file__).parent / "secrets" / "app.py"
ROOT = Path(__file__).parents[2]
MARKERS = {
    "MARKER_TOKEN": "m4rk-of-a-token",
    "PLAIN_WORD": "m4rk-of-a-url",  # nothing in the variable's name says that it is one
    "MCP_MARKER": "m4rk-of-a-server",
    "OPENAI_API_KEY": "m4rk-of-openai",
    "SEGUE_SASL_PASSWORD": "m4rk-of-kafka",
}
SIGN = b"m4rk"


@pytest_asyncio.fixture
async def refusing() -> AsyncGenerator[str]:
    """A service that refuses everybody, and repeats the credentials that it was given."""

    async def refuse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        request = await reader.readuntil(b"\r\n\r\n")
        said = [
            line
            for line in request.decode().splitlines()
            if line.lower().startswith(("auth", "x-api", "get"))
        ]
        body = f'{{"error": {{"message": "who is {said}?"}}}}'.replace("'", "").encode()
        head = (
            f"HTTP/1.1 401 Unauthorized\r\ncontent-type: application/json\r\ncontent-length: {len(body)}\r\n"
        )
        writer.write(head.encode() + b"connection: close\r\n\r\n" + body)
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(refuse, "127.0.0.1", 0)
    yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    server.close()


async def test_no_secret_is_told(settings: Settings, refusing: str, tmp_path: Path) -> None:
    await provision(settings)
    port = free_port()
    env = worker_environment(settings) | MARKERS | {"REFUSING": refusing, "OPENAI_BASE_URL": refusing}
    del env["SEGUE_SASL_PASSWORD"]
    env["SEGUE_METRICS_PORT"] = str(port)
    log = tmp_path / "worker.log"
    worker = await _run(env, log, "worker", str(APP))
    async with Client(settings) as client, asyncio.timeout(60):
        task = await client.start("leaks")
        result = await client.result(task)
        async with httpx.AsyncClient(trust_env=False) as http:
            metrics = (await http.get(f"http://127.0.0.1:{port}/metrics")).content
    worker.terminate()
    await worker.wait()
    told = {"the worker's log": log.read_bytes(), "metrics": metrics}
    for number, command in enumerate((["show", task], ["dead-letters"], ["tasks"])):
        said = tmp_path / f"said-{number}"
        assert await (await _run(env, said, *command)).wait() == 0
        told[" ".join(command)] = said.read_bytes()
    for topic in ALL:
        records = await records_of(settings, Range(topic.name))
        told[topic.name] = b"\n".join(repr(record).encode() for record in records)
    assert result.outcome == "failed"
    assert told["failures"].count(b"[redacted]") == 5
    assert b"calling with [redacted]" in told["the worker's log"]
    assert [where for where, what in told.items() if SIGN in what] == []


async def _run(env: dict[str, str], output: Path, *command: str) -> asyncio.subprocess.Process:
    with output.open("wb") as file:
        return await asyncio.create_subprocess_exec(
            sys.executable, "-m", "segue.streams.cli", *command, env=env, cwd=ROOT, stdout=file, stderr=file
        )


async def test_a_password_that_kafka_refuses_is_not_told(settings: Settings, tmp_path: Path) -> None:
    env = worker_environment(settings) | MARKERS
    env |= {"SEGUE_SECURITY_PROTOCOL": "SASL_PLAINTEXT", "SEGUE_SASL_USERNAME": "segue"}
    said = tmp_path / "said"
    assert await (await _run(env, said, "tasks")).wait() == 4
    assert said.read_bytes()
    assert SIGN not in said.read_bytes()


def test_settings_do_not_show_their_secrets() -> None:
    password = SecretStr("m4rk-of-kafka")
    shown = Settings(kafka="h:1", security_protocol="SASL_SSL", sasl_username="segue", sasl_password=password)
    assert "m4rk" not in f"{shown!r} {shown} {shown.model_dump()} {shown.model_dump_json()}"
