"""A stage that ends by itself was asked to; one that fails is started again, and does not chatter."""

import asyncio
from dataclasses import dataclass

import pytest

from segue.streams.engine.supervisor import SupervisedStage
from segue.topics.errors import Unavailable


@dataclass
class Ending:
    """Runs end at once, as they do when the worker has told all stages to stop together."""

    name: str = "ending"
    runs: int = 0
    ready: bool = False

    async def open(self) -> None: ...

    async def run(self) -> None:
        self.runs += 1

    async def stop(self) -> None: ...

    async def close(self) -> None: ...


async def test_a_run_that_ended_is_not_begun_again_before_the_service_stops() -> None:
    runner = Ending()
    stage = SupervisedStage(runner)
    await stage.start()
    await stage.sleep(0.05)
    await stage.stop()
    assert runner.runs == 1


@dataclass
class Failing(Ending):
    """Always for the same reason."""

    async def run(self) -> None:
        await super().run()
        raise Unavailable("no room")


async def test_what_fails_on_and_on_says_why_once_in_a_while(caplog: pytest.LogCaptureFixture) -> None:
    runner = Failing()
    stage = SupervisedStage(runner)
    await stage.start()
    await stage.sleep(0.5)
    await stage.stop()
    assert runner.runs > 1
    assert caplog.text.count("no room") == 1


@dataclass
class Cancelled(Ending):
    """By something within, which nobody asked of the stage itself."""

    async def run(self) -> None:
        await super().run()
        if self.runs == 1:
            raise asyncio.CancelledError


async def test_a_cancellation_that_nobody_asked_for_is_a_failure_like_any_other() -> None:
    runner = Cancelled()
    stage = SupervisedStage(runner)
    await stage.start()
    await stage.sleep(0.5)
    await stage.stop()
    assert runner.runs == 2
