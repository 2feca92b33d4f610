"""A small flood on a real broker: what is urgent passes it, and nobody is lost in it."""

from benchmarks.flood import FEW, flood
from segue.streams.settings import Settings

TASKS = 3_000


async def test_a_flood_holds_up_nobody_else(settings: Settings) -> None:
    found = await flood(settings.model_copy(update={"running_tasks_max": 32}), TASKS)
    assert (found["ended"], found["not_succeeded"]) == (TASKS + 4 * FEW, 0)
    assert (found["failed_attempts"], found["dead_letters"]) == (0, 0)
    waited = found["wait_s"]
    assert waited["urgent at once"]["max"] < waited["flood"]["max"] / 2
    assert waited["other at once"]["max"] < waited["flood"]["max"] / 2
