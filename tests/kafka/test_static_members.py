"""Static membership on a real broker: crashes without a rebalance, and two workers of one name."""

import asyncio
import logging
import signal
import sys
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from segue.streams.engine.effect_runner import EffectRunner
from segue.streams.engine.pure_runner import PureRunner
from segue.streams.kafka.provisioning import provision
from segue.streams.settings import Settings
from tests.kafka.engine import counts, event, feed, running, tally, until
from tests.kafka.test_engine_effects import Executor, at_once, calls, steps, tools

ROOT = Path(__file__).parents[2]
CALLS = 300


@pytest_asyncio.fixture
async def topics(settings: Settings) -> Settings:
    await provision(settings)
    return settings


def membership(runner: PureRunner | EffectRunner) -> Any:
    return vars(runner)["_group"].membership


async def process(program: str, *arguments: str) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(sys.executable, "-m", program, *arguments, cwd=ROOT)


async def test_a_killed_worker_that_comes_back_does_not_stop_the_others(topics: Settings) -> None:
    """Its partitions are its again within the same generation of the group, if it starts within a session."""
    patient = topics.model_copy(update={"session_timeout_ms": 30_000})
    settings = patient.model_dump_json()
    steady = tally(patient, "steady")
    crashing = await process("tests.kafka.engine", settings, "crashing")
    try:
        async with running(steady):
            await until(lambda: steady.ready and len(steady.partitions()) == 1)
            before = membership(steady)
            for number in range(1, 3):
                crashing.kill()
                await crashing.wait()
                crashing = await process("tests.kafka.engine", settings, "crashing")
                await feed(topics, "events", [(task, event(task)) for task in "abcd"])
                for task in "abcd":
                    assert await counts(topics, task, 4 * number) == list(range(1, number + 1))
            assert membership(steady) is before
    finally:
        crashing.kill()
        await crashing.wait()


async def test_a_worker_that_is_to_leave_gives_its_partitions_to_the_others_at_once(topics: Settings) -> None:
    leaving = topics.model_copy(update={"session_timeout_ms": 60_000, "leaves_on_stop": True})
    async with running(tally(topics, "stays")) as _:
        async with running(tally(leaving, "leaves")):
            pass
        await feed(topics, "events", [(task, event(task)) for task in "abcd"])
        assert [await counts(topics, task, 4) for task in "abcd"] == [[1]] * 4


@pytest.mark.parametrize("guarantee", ["exactly_once", "at_least_once"])
async def test_of_two_workers_of_one_name_the_older_waits_and_says_why(
    topics: Settings, tmp_path: Path, caplog: pytest.LogCaptureFixture, guarantee: str
) -> None:
    settings = topics.model_copy(update={"guarantee": guarantee})
    elsewhere = settings.model_copy(update={"state_dir": tmp_path / "elsewhere"})
    older, newer = tally(settings, "box"), tally(elsewhere, "box")
    with caplog.at_level(logging.ERROR, "segue.streams.engine.supervisor"):
        async with running(older):
            await feed(topics, "events", [("a", event("a"))])
            assert await counts(topics, "a", 1) == [1]
            async with running(newer):
                joined = membership(newer)
                await until(lambda: "another worker named 'box'" in caplog.text)
                await feed(topics, "events", [("a", event("a")) for _ in range(20)])
                assert await counts(topics, "a", 21, quiet_s=8.0) == list(range(1, 22))
                assert (membership(newer) is joined, older.ready) == (True, False)
            await until(lambda: older.ready)  # the name is free again
    for part in ("segue-box", "transactional ids", "SEGUE_WORKER_ID"):
        assert part in caplog.text


@pytest.mark.parametrize("guarantee", ["exactly_once", "at_least_once"])
async def test_a_worker_that_was_frozen_begins_no_call_that_another_has_made(
    topics: Settings, tmp_path: Path, guarantee: str
) -> None:
    settings = topics.model_copy(update={"guarantee": guarantee})
    made = tmp_path / "made"
    frozen = await process("tests.kafka.caller", settings.model_dump_json(), "frozen", str(made))
    try:
        await feed(topics, "tool-calls", calls(*range(CALLS)))
        await until(lambda: made.exists() and len(made.read_text().split()) > 20)
        frozen.send_signal(signal.SIGSTOP)
        begun = made.read_text().split()
        executor = Executor(at_once)
        async with running(tools(settings, executor, "other")):
            assert set(await steps(topics, CALLS)) == set(range(CALLS))
            frozen.send_signal(signal.SIGCONT)
            await asyncio.sleep(settings.session_timeout_ms / 1000)
        assert made.read_text().split() == begun
    finally:
        frozen.kill()
        await frozen.wait()
