"""The research example, whole: real broker, a search server that fails in part, and kills in the middle."""

import asyncio
import sys
from collections.abc import AsyncGenerator
from dataclasses import dataclass
from pathlib import Path

import pytest_asyncio

from examples.research import library
from examples.research.app import SAMPLE
from examples.research.models import Report
from segue.streams.client.client import Client
from segue.streams.kafka.provisioning import provision
from segue.streams.settings import Settings
from segue.topics.errors import UnknownName
from segue.topics.records import CallModel, CallTool, StepSucceeded
from tests.kafka.conftest import worker_environment

ROOT = Path(__file__).parents[2]
PATIENCE_S = 240.0
BROKEN = "white"
"""What the search server can't look for: half of the plan."""

SOURCES = {
    "street-measurements-2024#2",
    "school-roofs-2022#2",
    "green-budget-2023#1",
    "green-budget-2023#2",
    "tender-roofs-2025#2",
    "coatings-handbook-2021#1",
}


@dataclass
class Desk:
    client: Client
    env: dict[str, str]
    reports: Path
    worker: asyncio.subprocess.Process | None = None

    async def work(self) -> None:
        """A worker, in place of the one that there was: that one is killed."""
        await self.end()
        command = (sys.executable, "-m", "segue.streams.cli", "worker", "examples/research")
        self.worker = await asyncio.create_subprocess_exec(
            *command, env=self.env, cwd=ROOT, stdout=asyncio.subprocess.DEVNULL
        )

    async def end(self) -> None:
        if self.worker is not None:
            self.worker.kill()
            await self.worker.wait()

    async def called(self, task: str, route: str) -> list[CallModel | CallTool]:
        """The calls of the route that were asked for by now."""
        try:
            history = await self.client.history(task)
        except UnknownName:  # no worker has taken it up yet
            return []
        calls = [
            CallTool.model_validate_json(record.value or b"")
            if record.topic == "tool-calls"
            else CallModel.model_validate_json(record.value or b"")
            for record in history
            if record.topic in ("tool-calls", "model-calls")
        ]
        return [call for call in calls if call.route == route]

    async def comes_to(self, task: str, route: str) -> None:
        async with asyncio.timeout(PATIENCE_S):
            while not await self.called(task, route):  # noqa: ASYNC110 - other processes have no event to set
                await asyncio.sleep(0.1)

    async def answered_by(self, task: str, name: str) -> int:
        history = await self.client.history(task)
        events = [record.value or b"" for record in history if record.topic == "events"]
        answers = [StepSucceeded.model_validate_json(e) for e in events if b'"step_succeeded"' in e]
        return sum(answer.candidate == name for answer in answers)


@pytest_asyncio.fixture
async def desk(settings: Settings) -> AsyncGenerator[Desk]:
    await provision(settings)
    env = worker_environment(settings) | {"RESEARCH_FAIL": BROKEN}
    async with Client(settings) as client:
        there = Desk(client, env, settings.state_dir / "research")
        yield there
        await there.end()


async def test_killed_and_with_a_broken_search_it_writes_one_report_whose_sources_hold(desk: Desk) -> None:
    """Killed while it searches, while it writes, and while the report is published."""
    await desk.work()
    task = await desk.client.start("research", SAMPLE)
    for route in ("search", "write", "publish"):
        await desk.comes_to(task, route)
        await desk.work()
    result = await desk.client.result(task, PATIENCE_S)
    assert result.outcome == "succeeded", result.problem
    report = Report.model_validate(result.result)
    assert (set(report.sources), report.claims, report.unsettled) == (SOURCES, 6, [])
    [written] = desk.reports.glob("*.md")
    assert written == Path(report.file)
    hold(written.read_text(), report.sources)
    assert report.rounds == len(await desk.called(task, "critic")) == 2
    assert await desk.answered_by(task, "search_here") >= 3


def hold(text: str, sources: list[str]) -> None:
    """Each quoted sentence stands in the source whose number it bears."""
    passages = {passage.id: passage.text for passage in library.passages()}
    listed = dict(line.split(". ", 1) for line in text.splitlines() if line[:1].isdigit())
    quotes = [line.rpartition(" [") for line in text.splitlines() if line.startswith("**")]
    assert len(quotes) == 6
    for quote, _, number in quotes:
        source = next(s for s in sources if f"`{s}`" in listed[number.rstrip("]")])
        assert quote.partition(".** ")[2] in " ".join(passages[source].split())
