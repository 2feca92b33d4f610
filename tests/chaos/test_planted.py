"""The harness can fail: bugs of the kinds that it is for are planted into real workers, and the audit tells.

Minutes each, so only on request: `make chaos-planted`.
"""

from pathlib import Path
from typing import Any

import pytest

from chaos.faults import Kind
from chaos.report import figures
from chaos.run import Guarantee, Plan, run

pytestmark = pytest.mark.planted


async def audited(bug: str, folder: Path, guarantee: Guarantee, only: tuple[Kind, ...]) -> dict[str, Any]:
    worker = ("chaos.planted", bug, "chaos/app.py")
    plan = Plan(3, 1.5, guarantee, 10, worker=worker, only=only, patience_s=20, has_veteran=False)
    return figures(await run(plan, folder, print))


async def test_a_commit_before_its_acknowledgement_loses_tasks(tmp_path: Path) -> None:
    found = await audited("commit_before_acknowledgement", tmp_path, "at_least_once", ("kill", "kill two"))
    assert found["lost"] + found["stuck"] > 0


async def test_a_task_that_is_begun_each_time_it_is_submitted_happens_twice(tmp_path: Path) -> None:
    found = await audited("no_deduplication", tmp_path, "exactly_once", ("blink",))
    assert found["twice"] > 0


async def test_state_written_before_its_transaction_leaves_tasks_stuck(tmp_path: Path) -> None:
    found = await audited("state_before_its_transaction", tmp_path, "exactly_once", ("kill", "kill two"))
    assert found["stuck"] + found["wrong_stores"] > 0


async def test_timers_that_do_not_move_with_their_partition_are_missed(tmp_path: Path) -> None:
    found = await audited(
        "timers_in_memory_only", tmp_path, "exactly_once", ("kill", "kill two", "terminate")
    )
    assert found["stuck"] > 0
