"""What the runner of effect stages guarantees, on a real broker."""

import asyncio
import random
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import suppress
from typing import Any

import pytest
import pytest_asyncio

from segue.processors.app.app import App
from segue.processors.routing.tools import tool
from segue.processors.stages.reply import Reply
from segue.streams.engine.effect_runner import EffectRunner, EffectStage
from segue.streams.engine.supervisor import SupervisedStage
from segue.streams.kafka.provisioning import provision
from segue.streams.observability.metrics import Metrics
from segue.streams.settings import Settings
from segue.topics import codec
from segue.topics.records import AttemptFailed, CallTool, Event
from tests.kafka.engine import feed, feed_at_once, read, running, until
from tests.pipelines import pipeline

Answer = Callable[[CallTool], Awaitable[Any]]


@tool(name="work", timeout_s=0.5)
async def work() -> None:
    """Its policy is what the tests need; the call itself is the executor's."""


@tool(name="patient", timeout_s=600)
async def patient() -> None:
    """Its calls may take long."""


APP = App("engine", workflows=[], tools=[work])
PATIENT = App("engine", workflows=[], tools=[patient])


class Executor:
    """Answers with what `answer` returns, and keeps which steps it was asked for."""

    def __init__(self, answer: Answer) -> None:
        self._answer = answer
        self.asked: list[int] = []

    async def start(self) -> None: ...

    async def stop(self) -> None: ...

    def candidate(self, call: CallTool) -> str:
        return call.route

    async def __call__(self, call: CallTool) -> Reply:
        self.asked.append(call.step)
        return Reply(await self._answer(call), "work")


def tools(
    settings: Settings, executor: Executor, worker: str = "one", in_flight_max: int = 100, app: App = APP
) -> EffectRunner:
    metrics = Metrics(app, worker)
    stage = EffectStage("tool", pipeline("tool", app, executor, metrics), in_flight_max)
    return EffectRunner(stage, settings, worker, metrics)


def call(step: int, route: str = "elsewhere") -> CallTool:
    return CallTool(task="t", step=step, fingerprint="p", workflow="w", route=route, arguments={}, at_ms=0)


def calls(*steps: int, route: str = "elsewhere") -> list[tuple[str, CallTool]]:
    return [("t", call(step, route)) for step in steps]


async def steps(settings: Settings, most: int) -> list[int]:
    """The steps that succeeded, in the order in which their outcomes were published."""
    events: list[Event] = [codec.decode("events", r.value) for r in await read(settings, "events", most)]
    return [event.step for event in events if event.kind == "step_succeeded"]


async def failures(settings: Settings, most: int) -> list[AttemptFailed]:
    return [codec.decode("failures", r.value) for r in await read(settings, "failures", most, quiet_s=0.5)]


async def at_once(call: CallTool) -> str:
    return "done"


def never_for(stuck: int) -> Answer:
    async def answer(call: CallTool) -> str:
        if call.step == stuck:
            await asyncio.Event().wait()
        return "done"

    return answer


async def crash(stage: SupervisedStage) -> None:
    """Ends it in the middle of whatever it does: nothing is drained or published."""
    looping: asyncio.Task[None] = vars(stage)["_looping"]
    looping.cancel()
    with suppress(asyncio.CancelledError):
        await looping


@pytest_asyncio.fixture
async def topics(settings: Settings) -> AsyncGenerator[Settings]:
    await provision(settings)
    yield settings


@pytest.mark.parametrize("guarantee", ["exactly_once", "at_least_once"])
async def test_a_call_that_was_answered_is_not_made_again_after_a_crash(
    topics: Settings, guarantee: str
) -> None:
    settings = topics.model_copy(update={"guarantee": guarantee})
    before, after = Executor(never_for(1)), Executor(at_once)
    async with running(tools(settings, before)) as (stage,):
        await feed(settings, "tool-calls", calls(0, 1, 2, 3))
        assert await steps(settings, 3) == [0, 2, 3]
        await crash(stage)
    async with running(tools(settings, after, "two")):
        await feed(settings, "tool-calls", calls(4))
        assert sorted(await steps(settings, 5)) == [0, 1, 2, 3, 4]
    assert (before.asked, after.asked) == ([0, 1, 2, 3], [1, 4])


async def test_the_same_command_twice_is_called_once(topics: Settings) -> None:
    executor = Executor(at_once)
    async with running(tools(topics, executor)):
        await feed(topics, "tool-calls", calls(0, 0))
        await steps(topics, 1)
        await feed(topics, "tool-calls", calls(0, 1))
        assert await steps(topics, 2) == [0, 1]
    assert executor.asked == [0, 1]


async def test_a_command_that_comes_again_much_later_is_called_again(
    topics: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its outcome was lost, say, and `conduct` asks again: skipped, its task would wait for ever."""
    monkeypatch.setattr("segue.streams.engine.effect_runner.REMEMBERED_S", 0)
    executor = Executor(at_once)
    async with running(tools(topics, executor)):
        await feed(topics, "tool-calls", calls(0))
        assert await steps(topics, 1) == [0]
        await feed(topics, "tool-calls", calls(0))
        assert await steps(topics, 2) == [0, 0]
    assert executor.asked == [0, 0]


async def test_a_call_goes_on_while_another_worker_joins(topics: Settings) -> None:
    release = asyncio.Event()

    async def answer(call: CallTool) -> str:
        await release.wait()
        return "done"

    executor, joining = Executor(answer), Executor(answer)
    async with running(tools(topics, executor, "a")):
        await feed(topics, "tool-calls", calls(0))
        await until(lambda: executor.asked == [0])
        async with running(tools(topics, joining, "b")):
            release.set()
            assert await steps(topics, 1) == [0]
    assert len(executor.asked) + len(joining.asked) <= 2


async def test_a_stage_that_is_full_when_another_worker_joins_goes_on(topics: Settings) -> None:
    release = asyncio.Event()

    async def answer(call: CallTool) -> str:
        await release.wait()
        return "done"

    executor, joining = Executor(answer), Executor(answer)
    async with running(tools(topics, executor, "b", in_flight_max=1)):
        await feed(topics, "tool-calls", calls(0))
        await until(lambda: executor.asked == [0])
        async with running(tools(topics, joining, "a", in_flight_max=1)):
            release.set()
            assert await steps(topics, 1) == [0]
    assert (executor.asked, joining.asked) == ([0], [])


async def test_no_more_calls_run_at_once_than_allowed(topics: Settings) -> None:
    at_once, most = 0, 0

    async def answer(call: CallTool) -> str:
        nonlocal at_once, most
        at_once += 1
        most = max(most, at_once)
        await asyncio.sleep(0.05)
        at_once -= 1
        return "done"

    async with running(tools(topics, Executor(answer), in_flight_max=3)):
        await feed(topics, "tool-calls", calls(*range(12)))
        assert sorted(await steps(topics, 12)) == list(range(12))
    assert most == 3


async def test_whatever_a_call_raises_is_a_failure_and_the_stage_goes_on(topics: Settings) -> None:
    async def answer(call: CallTool) -> object:
        match call.step:
            case 0:
                raise RuntimeError("broken")
            case 1:
                raise SystemExit(1)
            case 2:
                raise asyncio.CancelledError
            case 3:
                await asyncio.sleep(60)
            case 4:
                return "x" * 2_000_000
            case _:
                return "done"
        return None

    async with running(tools(topics, Executor(answer))):
        await feed(topics, "tool-calls", calls(0, 1, 2, 3, 4, 5, route="work"))
        assert await steps(topics, 1) == [5]
        found = {failure.call.step: failure.problem for failure in await failures(topics, 5)}
    assert {step: problem.type for step, problem in found.items()} == {
        0: "RuntimeError",
        1: "SystemExit",
        2: "CancelledError",
        3: "TimeoutError",
        4: "TooLarge",
    }
    assert found[3].message == "no answer within 0.5 s"
    assert not found[4].retryable


async def test_a_record_that_is_none_goes_to_the_dead_letters(topics: Settings) -> None:
    async with running(tools(topics, Executor(at_once))):
        await feed(topics, "tool-calls", [("t", b"\xff nonsense"), *calls(0)])
        assert await steps(topics, 1) == [0]
        (letter,) = await read(topics, "dead-letters", 1, quiet_s=0.5)
    headers = dict(letter.headers)
    assert letter.value == b"\xff nonsense"
    assert (headers["segue-stage"], headers["segue-topic"]) == (b"tool", b"tool-calls")


async def test_a_stop_waits_for_calls_and_publishes_them(topics: Settings) -> None:
    async def answer(call: CallTool) -> str:
        await asyncio.sleep(0.4)
        return "done"

    executor = Executor(answer)
    async with running(tools(topics, executor)):
        await feed(topics, "tool-calls", calls(0))
        await until(lambda: executor.asked == [0])
    assert await steps(topics, 1) == [0]


@pytest.mark.parametrize("guarantee", ["exactly_once", "at_least_once"])
async def test_of_thousands_of_calls_in_flight_only_the_unfinished_are_made_again_after_a_crash(
    topics: Settings, guarantee: str
) -> None:
    """All on one partition, finishing in no order; the first, the slowest, never ends."""
    settings = topics.model_copy(update={"guarantee": guarantee})
    chance = random.Random(7)
    ended = set(chance.sample(range(1, 3_000), 1_500))

    async def some(call: CallTool) -> str:
        if call.step not in ended:
            await asyncio.Event().wait()
        await asyncio.sleep(chance.random() / 10)
        return "done"

    before, after = Executor(some), Executor(at_once)
    async with running(tools(settings, before, in_flight_max=10_000, app=PATIENT)) as (stage,):
        await feed_at_once(settings, "tool-calls", calls(*range(3_000), route="patient"))
        assert sorted(await steps(settings, len(ended))) == sorted(ended)
        await until(lambda: len(before.asked) == 3_000)
        await crash(stage)
    async with running(tools(settings, after, "two", in_flight_max=10_000, app=PATIENT)):
        assert sorted(await steps(settings, 3_000)) == list(range(3_000))
    assert sorted(after.asked) == [step for step in range(3_000) if step not in ended]
