"""Circuits and limits over several workers, each a process, before one outside service that counts."""

import asyncio
import re
import sys
from collections import Counter
from collections.abc import AsyncGenerator, Callable
from pathlib import Path
from time import monotonic

import pytest
import pytest_asyncio

from segue.processors.views.timeline import Timeline
from segue.streams.client.client import Client
from segue.streams.engine.worker import Worker
from segue.streams.kafka.partitioner import partition_of
from segue.streams.kafka.provisioning import provision
from segue.streams.kafka.reader import Reader
from segue.streams.settings import Settings
from segue.topics import codec
from segue.topics.health import Health
from tests.kafka.conftest import worker_environment
from tests.kafka.crowd.app import PACED_PER_S, app
from tests.kafka.crowd.service import Outside, Visit, outside

ROOT = Path(__file__).parents[2]
PATIENCE_S = 180.0
NEWS_S = 5.0
"""From an attempt that ended to all workers knowing what it means, on a machine that is busy."""

SPARED = 100
"""Calls of a worker that would have gone to the primary: many more than there are probes."""

TASKS = [f"task-{number}" for number in range(8)]
EACH = 3
"""Calls of each kind that a task makes at once."""


class Callers:
    """Workers that make the calls of tools, and nothing else; beside them one that does all else."""

    def __init__(self, others: Worker, env: dict[str, str]) -> None:
        self.others = others
        self._env = env
        self._running: dict[str, asyncio.subprocess.Process] = {}

    async def add(self, name: str) -> None:
        command = (
            sys.executable,
            "-m",
            "segue.streams.cli",
            "worker",
            "tests/kafka/crowd",
            "--stages",
            "tool",
        )
        env = self._env | {"SEGUE_WORKER_ID": name}
        self._running[name] = await asyncio.create_subprocess_exec(*command, env=env, cwd=ROOT)

    async def segue(self, *arguments: str) -> str:
        """What a command says."""
        command = (sys.executable, "-m", "segue.streams.cli", *arguments)
        asked = await asyncio.create_subprocess_exec(
            *command, env=self._env, cwd=ROOT, stdout=asyncio.subprocess.PIPE
        )
        said, _ = await asked.communicate()
        return said.decode()

    async def kill(self, name: str) -> None:
        """-9: it says nothing to anybody."""
        worker = self._running.pop(name)
        worker.kill()
        await worker.wait()

    async def kill_all(self) -> None:
        for name in list(self._running):
            await self.kill(name)


@pytest_asyncio.fixture
async def there() -> AsyncGenerator[Outside]:
    async with outside() as service:
        yield service


@pytest_asyncio.fixture
async def callers(settings: Settings, there: Outside) -> AsyncGenerator[Callers]:
    await provision(settings)
    others = Worker(app, settings, ("intake", "conduct", "recover", "delay", "health"))
    callers = Callers(others, worker_environment(settings) | {"SERVICE": there.url})
    await others.start()
    await others.ready()
    yield callers
    await callers.kill_all()
    await others.stop()


@pytest_asyncio.fixture
async def client(settings: Settings) -> AsyncGenerator[Client]:
    async with Client(settings) as client:
        yield client


@pytest.fixture(autouse=True)
def every_worker_has_tasks(settings: Settings) -> None:
    """What the tests are built on: their ids are chosen so."""
    assert len({partition_of(task.encode(), settings.partitions) for task in TASKS}) == settings.partitions


async def until(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while not holds():  # noqa: ASYNC110 - other processes have no event to set
            await asyncio.sleep(0.05)


async def healths(settings: Settings) -> list[Health]:
    async with Reader(settings) as reader:
        places = reader.partitions("health")
        starts, ends = await reader.beginnings(places), await reader.ends(places)
        found = [codec.decode("health", r.value) async for r in reader.read(starts, ends)]
    return [health for health in found if health.candidate == "primary"]


async def until_state(settings: Settings, state: str) -> Health:
    async with asyncio.timeout(PATIENCE_S):
        while not (found := await healths(settings)) or found[-1].state != state:  # noqa: ASYNC110
            await asyncio.sleep(0.2)
    return found[-1]


async def trials(settings: Settings) -> int:
    """How often the circuit was half open."""
    return len({health.since_ms for health in await healths(settings) if health.state == "half_open"})


def by_worker(visits: list[Visit]) -> Counter[str]:
    return Counter(visit.worker for visit in visits)


def have(names: tuple[str, ...], visits: list[Visit], least: int = 1) -> bool:
    return all(by_worker(visits)[name] >= least for name in names)


async def cancelled(client: Client) -> None:
    """All tasks, none of which has failed before."""
    for task in TASKS:
        await client.cancel(task)
    results = [await client.result(task, PATIENCE_S) for task in TASKS]
    assert {result.outcome for result in results} == {"cancelled"}


async def test_a_provider_that_fails_gets_probes_alone_from_every_worker_until_it_recovers(
    client: Client, callers: Callers, settings: Settings, there: Outside
) -> None:
    workers = ("north", "south")
    for name in workers:
        await callers.add(name)
    for task in TASKS:
        await client.start("errands", id=task)
    await until(lambda: have(workers, there.of("primary")))
    failing_s, there.failing = monotonic(), True
    await until_state(settings, "open")
    open_s = monotonic() + NEWS_S
    (told,) = [line for line in (await callers.segue("health")).splitlines() if line.startswith("primary")]
    assert re.match(r"primary +(half )?open +", told)
    await until(lambda: have(workers, there.of("spare", open_s), SPARED))
    probed, spared = by_worker(there.of("primary", open_s)), by_worker(there.of("spare", open_s))
    rounds = await trials(settings)
    before = len([visit for visit in there.of("primary", failing_s) if visit.at_s < open_s])
    print(f"{before} calls in the {open_s - failing_s:.1f} s until all know; in {monotonic() - open_s:.1f} s")
    print(f"after that {dict(probed)} probes in {rounds} rounds, and {dict(spared)} calls of the spare")
    assert rounds >= 1
    assert max(probed.values(), default=0) <= rounds
    counted = callers.others.metrics.registry
    assert counted.get_sample_value("segue_circuits_opened_total", {"candidate": "primary"}) == 1

    await callers.kill("south")
    await callers.add("west")
    await until(lambda: have(("west",), there.of("spare"), SPARED // 4))
    tried = by_worker(there.of("primary"))["west"]
    print(f"a worker that came meanwhile made {tried} of its calls there")
    assert tried <= await trials(settings), "from its first call on"

    there.failing = False
    await until_state(settings, "closed")
    closed_s = monotonic()
    await until(lambda: have(("north", "west"), there.of("primary", closed_s), SPARED // 4))
    await cancelled(client)

    timeline = Timeline(TASKS[0])
    for record in await client.history(TASKS[0]):
        timeline.apply(record)
    reasons = [a.reason for step in timeline.in_order for a in step.attempts.values() if a.reason]
    assert any("circuit is open" in reason for reason in reasons)


async def test_limits_hold_over_all_workers_while_one_is_added_and_one_is_killed(
    client: Client, callers: Callers, there: Outside
) -> None:
    await callers.add("north")
    for task in TASKS:
        await client.start("crowd", EACH, id=task)
    everybody = EACH * len(TASKS)
    await until(lambda: len(there.of("free")) >= everybody)
    assert len(there.of("paced")) < everybody / 2, "who waits blocks nobody"

    await callers.add("south")
    await until(lambda: have(("south",), there.of("paced")))
    shared_s = monotonic()
    await until(lambda: have(("north", "south"), there.of("paced", shared_s), 15))
    await callers.kill("south")
    killed_s = monotonic()
    await until(lambda: have(("north",), there.of("paced", killed_s), 20 * PACED_PER_S))
    await cancelled(client)

    paced = most_within(10, there.of("paced"))
    print(f"{paced} of {10 * PACED_PER_S} calls in any 10 s; in all {dict(by_worker(there.visits))}")
    assert paced <= 10 * PACED_PER_S + PACED_PER_S + 1, "a second's worth more, and one for who came"
    assert (there.most["three"], there.most["single"]) == (3, 1)
    single = [visit for visit in there.of("single", shared_s) if visit.at_s < killed_s]
    assert len(by_worker(single)) == 1, "who has its only place"
    assert {partition_of(visit.call.partition("/")[0].encode(), 2) for visit in single} == {0, 1}, (
        "and gets the calls of the others"
    )
    assert {visit.attempt for visit in there.visits} == {1}, "what waits is no attempt, and times out never"
    made = Counter((visit.worker, visit.place, visit.call) for visit in there.visits)
    assert set(made.values()) == {1}, "only another worker makes a call again"


def most_within(seconds: float, visits: list[Visit]) -> int:
    at_s = [visit.at_s for visit in visits]
    return max(len([each for each in at_s if begin <= each < begin + seconds]) for begin in at_s)
