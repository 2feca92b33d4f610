"""A stage that ends by itself was asked to: it is not started again."""

from dataclasses import dataclass

from streams.supervision import SupervisedStage


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
