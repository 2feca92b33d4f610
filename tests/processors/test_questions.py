"""Questions with options that leave room for something else: `ask(…, options=…, answer=str)`."""

from typing import Any

import pytest

from segue import App, Task, Workflow, workflow
from tests.driver import Driver


@workflow
async def review(task: Task) -> int | str:
    return await task.ask("ada", "Send it?", options={"the first": 1, "the second": 2}, answer=str)


@workflow
async def approve(task: Task) -> bool:
    return await task.ask("ada", "Pay?", options={"no": False, "yes": True})


@workflow
async def crossed(task: Task) -> str:
    return await task.ask("ada", "Which?", options={"a": "b", "b": "a"})


def answered(value: Any, run: Workflow[Any, Any] = review) -> Driver:
    driver = Driver(App("x", workflows=[run]))
    driver.submit(run.name)
    driver.run()
    driver.produce("signals", {"kind": "answer", "task": "t", "value": value})
    driver.run(until_ms=driver.now_ms + 1)
    return driver


@pytest.mark.parametrize(
    ("given", "meant"), [("the second", 2), (2, 2), ("shorter, please", "shorter, please")]
)
def test_an_answer_is_an_option_or_something_else(given: Any, meant: Any) -> None:
    assert answered(given).result().result == meant


@pytest.mark.parametrize(("given", "meant"), [(True, True), (False, False), ("yes", True)])
def test_an_answer_is_the_option_that_it_says(given: Any, meant: bool) -> None:
    assert answered(given, approve).result().result is meant


@pytest.mark.parametrize("given", [0, 1, 1.0])
def test_a_number_is_no_yes(given: Any) -> None:
    driver = answered(given, approve)
    assert driver.records("results") == []
    assert driver.reasons() == [f"{given} is none of the options: no, yes"]


@pytest.mark.parametrize("given", ["a", "b"])
def test_a_value_that_is_anothers_label_is_the_value(given: str) -> None:
    assert answered(given, crossed).result().result == given


def test_a_form_is_told_both() -> None:
    [question, _] = answered("the first").records("questions")
    assert [option.label for option in question.options] == ["the first", "the second"]
    assert question.answer == {"type": "string"}


def test_an_answer_that_is_neither_is_a_dead_letter_and_the_question_stays_open() -> None:
    driver = answered([7])
    assert driver.records("results") == []
    assert "string" in driver.reasons()[0]
