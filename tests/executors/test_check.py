"""Checks run in their order, over typed outputs, and refuse by raising."""

from typing import Any

import pytest
from pydantic import BaseModel

from segue.processors.app.app import App
from segue.processors.app.decorators import check
from segue.processors.stages.attempt import current_attempt
from segue.streams.executors import CheckExecutor
from segue.topics.errors import OutputRejected, Permanent
from segue.topics.records import CheckCall, CheckOutput
from tests.executors.calls import call_model


class Ranking(BaseModel):
    hotels: list[str]


@check
def only_known(output: Ranking, known: frozenset[str]) -> None:
    if unknown := sorted(set(output.hotels) - known):
        raise OutputRejected(f"no such hotels: {', '.join(unknown)}")


@check
async def not_empty(output: Ranking) -> None:
    assert current_attempt().task == "t1"
    if not output.hotels:
        raise OutputRejected("no hotel at all")


KNOWN = CheckCall(name="only_known", arguments={"known": ["a", "b"]})
FULL = CheckCall(name="not_empty")


async def run(result: Any, *checks: CheckCall) -> None:
    call = call_model(checks=checks)
    record = CheckOutput(task="t1", call=call, result=result, candidate="m", duration_ms=1, at_ms=1)
    executor = CheckExecutor(App("test", workflows=[], checks=[only_known, not_empty]))
    assert executor.candidate(record) == ",".join(c.name for c in checks)
    await executor(record)


async def test_an_output_that_passes_all_checks_is_accepted() -> None:
    await run({"hotels": ["a"]}, KNOWN, FULL)


async def test_the_first_check_that_refuses_gives_the_critique() -> None:
    with pytest.raises(OutputRejected, match=r"^no such hotels: x, y$"):
        await run({"hotels": ["y", "a", "x"]}, FULL, KNOWN)
    with pytest.raises(OutputRejected, match=r"^no hotel at all$"):
        await run({"hotels": []}, KNOWN, FULL)


async def test_an_output_of_another_shape_is_refused() -> None:
    with pytest.raises(OutputRejected, match=r"^the output does not fit: hotels: Field required$"):
        await run({}, FULL)


async def test_arguments_that_do_not_fit_are_the_callers_fault() -> None:
    with pytest.raises(Permanent, match="check 'only_known' can't be called: argument 'known' is missing"):
        await run({"hotels": []}, CheckCall(name="only_known"))
    with pytest.raises(Permanent, match="it takes no argument 'output'"):
        await run({"hotels": []}, CheckCall(name="not_empty", arguments={"output": 1}))
