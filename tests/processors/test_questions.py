"""Questions with options that leave room for something else: `ask(…, options=…, answer=str)`."""

from typing import Any

import pytest

from segue import App, Task, workflow
from tests.driver import Driver


@workflow
async def review(task: Task) -> int | str:
    return await task.ask("ada", "Send it?", options={"the first": 1, "the second": 2}, answer=str)


def answered(value: Any) -> Driver:
    driver = Driver(App("x", workflows=[review]))
    driver.submit("review")
    driver.run()
    driver.produce("signals", {"kind": "answer", "task": "t", "value": value})
    driver.run(until_ms=driver.now_ms + 1)
    return driver


@pytest.mark.parametrize(
    ("given", "meant"), [("the second", 2), (2, 2), ("shorter, please", "shorter, please")]
)
def test_an_answer_is_an_option_or_something_else(given: Any, meant: Any) -> None:
    assert answered(given).result().result == meant


def test_a_form_is_told_both() -> None:
    [question, _] = answered("the first").records("questions")
    assert [option.label for option in question.options] == ["the first", "the second"]
    assert question.answer == {"type": "string"}


def test_an_answer_that_is_neither_is_a_dead_letter_and_the_question_stays_open() -> None:
    driver = answered([7])
    assert driver.records("results") == []
    assert "string" in driver.reasons()[0]
