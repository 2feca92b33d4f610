"""An agent's conversation that is larger than any record, on a real broker, with keys and killed workers."""

import asyncio
import shutil
import sys
from collections.abc import AsyncGenerator
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest_asyncio

from segue.streams.client.client import Client
from segue.streams.client.redrive import Range, records_of
from segue.streams.kafka.provisioning import provision
from segue.streams.settings import Settings
from segue.topics import codec
from segue.topics.contracts import LOG_TOPICS, PAYLOAD_BYTES_MAX
from tests.kafka.conftest import free_port, worker_environment
from tests.kafka.conversations.app import LETTER, LETTERS, PAUSED_AT
from tests.streams.keyfiles import key_file

ROOT = Path(__file__).parents[2]
APP = "tests/kafka/conversations"
PATIENCE_S = 60.0


@dataclass
class Place:
    settings: Settings
    client: Client
    folder: Path
    env: dict[str, str]
    worker: asyncio.subprocess.Process | None = None

    async def work(self) -> None:
        """A worker, in place of the one that there was: that one is killed, and its disk is lost."""
        if self.worker is not None:
            self.worker.kill()
            await self.worker.wait()
            shutil.rmtree(self.settings.state_dir)
        self.worker = await self.segue("worker", APP)

    async def segue(self, *arguments: str) -> asyncio.subprocess.Process:
        command = (sys.executable, "-m", "segue.streams.cli", *arguments)
        pipe = asyncio.subprocess.PIPE
        return await asyncio.create_subprocess_exec(*command, env=self.env, cwd=ROOT, stdout=pipe)

    async def told(self, *arguments: str) -> tuple[int | None, str]:
        process = await self.segue(*arguments)
        said, _ = await process.communicate()
        return process.returncode, said.decode()

    def file_of(self, name: str) -> Path:
        return Path(self.settings.objects_root) / f"{self.settings.topic_prefix}objects" / name

    @property
    def calls(self) -> list[str]:
        file = self.folder / "calls"
        return file.read_text().splitlines() if file.exists() else []

    async def called(self, calls: int) -> None:
        async with asyncio.timeout(PATIENCE_S):
            while len(self.calls) < calls:  # noqa: ASYNC110 - another process writes them
                await asyncio.sleep(0.05)


@pytest_asyncio.fixture
async def place(settings: Settings, tmp_path: Path) -> AsyncGenerator[Place]:
    keys = key_file(tmp_path / "keys.json", "one", acme="acme-1")
    settings = settings.model_copy(update={"encryption_keys": keys})
    await provision(settings)
    env = worker_environment(settings) | {"LETTERS": str(tmp_path), "SEGUE_ENCRYPTION_KEYS": str(keys)}
    async with Client(settings) as client:
        there = Place(settings, client, tmp_path, env)
        yield there
        if there.worker is not None and there.worker.returncode is None:
            there.worker.kill()
            await there.worker.wait()


async def test_a_conversation_beyond_a_record_survives_its_workers(place: Place) -> None:
    """What was said is as it was after each rebuild; who looks sees the task, and finds the values."""
    await place.work()
    await place.client.start("reading", id="t", tenant="acme")
    for number, paused_at in enumerate(PAUSED_AT):
        await place.called(paused_at + 1 + number)
        await place.work()
        await place.called(paused_at + 2 + number)
        (place.folder / f"go-{paused_at}").touch()
    result = await place.client.result("t", PATIENCE_S)
    assert result.problem is None
    output, found, history = result.result
    assert (output, found) == (f"read {LETTERS}", LETTERS)
    parts = [part for message in history for part in message["parts"]]
    said = [part["content"] for part in parts if part["part_kind"] == "tool-return"]
    assert said == [f"{number} {LETTER}" for number in range(LETTERS)]
    await ensure_small_and_sealed(place)
    await ensure_shown(place)


async def ensure_small_and_sealed(place: Place) -> None:
    """No record holds what the store is for, and all objects are under the tenant's key."""
    records = [record for topic in LOG_TOPICS for record in await records_of(place.settings, Range(topic))]
    assert max(len(record.value or b"") for record in records) < PAYLOAD_BYTES_MAX
    calls = [codec.decode("model-calls", record.value) for record in records if record.topic == "model-calls"]
    pieces = [piece for call in calls for parts in call.agent.large.values() for piece in parts]
    assert {piece["key"] for piece in pieces} == {"acme-1"}
    assert len({piece["object"] for piece in pieces}) < len(pieces)
    kept = {piece["object"]: place.file_of(piece["object"]).read_bytes() for piece in pieces}
    assert not any(LETTER[:50].encode() in sealed for sealed in kept.values())


async def ensure_shown(place: Place) -> None:
    for command in (("show", "t"), ("show", "t", "-o", "json"), ("replay", "t", "--app", APP)):
        code, said = await place.told(*command)
        assert code == 0, said
        assert f"read {LETTERS}" in said
    port = free_port()
    page = await place.segue("ui", "--port", str(port))
    try:
        async with httpx.AsyncClient() as client, asyncio.timeout(PATIENCE_S):
            while True:
                try:
                    shown = await client.get(f"http://127.0.0.1:{port}/tasks/t")
                    break
                except httpx.ConnectError:
                    await asyncio.sleep(0.2)
        assert shown.status_code == 200
        assert f"read {LETTERS}" in shown.text
    finally:
        page.terminate()
        await page.communicate()
