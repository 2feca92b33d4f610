"""The workflow loop's tasks: in the sets that asyncio keeps they stand apart, in the same order each time."""

import asyncio
import contextvars
from typing import Any

from segue.processors.event_loop.loop import WorkflowLoop


def hashes(name: str, count: int = 1) -> list[int]:
    """Of the first tasks of a loop with that name."""

    async def nothing() -> None: ...

    loop: Any = WorkflowLoop(lambda _: None, name)  # type: ignore[abstract]
    tasks: list[asyncio.Task[None]] = [
        loop.create_task(nothing(), context=contextvars.Context()) for _ in range(count)
    ]
    loop.drain()
    return [hash(task) for task in tasks]


def test_first_tasks_of_many_loops_do_not_hash_alike() -> None:
    """One set of asyncio holds them all: with equal hashes, 10,000 open tasks cost milliseconds for each."""
    assert len({hashed for n in range(1_000) for hashed in hashes(f"task-{n}")}) == 1_000


def test_a_replay_hashes_as_the_first_run_did_and_ascending() -> None:
    assert hashes("t", 5) == hashes("t", 5) == sorted(hashes("t", 5))
