"""`Replay` plays the request that began, and compares with the result of that."""

import pytest

from segue import App, Task, workflow
from segue.streams.testing.replay import Replay
from segue.topics.flow import Received
from tests.driver import Driver


@workflow
async def says(task: Task, word: str) -> str:
    return f"{word} {await task.signal('go', str)}"


@workflow
async def shouts(task: Task, word: str) -> str:
    return word.upper()


APP = App("replayed", workflows=[says, shouts])


def played(*requests: tuple[str, object]) -> list[Received]:
    driver = Driver(APP)
    for workflow_, given in requests:
        driver.submit(workflow_, given)
        driver.run()
    driver.produce("signals", {"kind": "signal", "task": "t", "name": "go", "value": "on"})
    driver.run()
    driver.submit("shouts", "late")
    driver.run()
    return sorted(driver.logs["events"] + driver.logs["results"], key=lambda record: record.timestamp_ms)


@pytest.mark.parametrize(
    "requests",
    [
        [("says", "first"), ("says", "second")],
        [("says", "first"), ("shouts", "second")],
        [("says", "first"), ("says", 3), ("gone", "second")],
        [("gone", "rejected"), ("says", "first"), ("says", "second")],
    ],
)
def test_a_replay_of_an_id_that_was_sent_twice_plays_the_request_that_began(
    requests: list[tuple[str, object]],
) -> None:
    replay = Replay(APP, played(*requests))
    for _ in replay:
        pass
    assert replay.execution is not None
    completion = replay.execution.completion
    assert completion is not None
    assert (completion.result, replay.parked, replay.different_ending) == ("first on", None, None)
