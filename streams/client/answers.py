"""Whether an answer fits its question, decided where it enters: whoever gave it is still there to be told.

A program gives an option's value. Who types at a terminal sees numbers and labels, and means these first.
"""

import json
from collections.abc import Callable
from decimal import Decimal
from math import isfinite
from typing import Any

from segue.processors.formatting import headline
from segue.processors.payloads.options import is_same, option_with
from segue.processors.payloads.values import jsonable
from segue.streams.json_schema.typed import misfit
from segue.topics.codec import json_of
from segue.topics.errors import BadInput
from segue.topics.records import Question, Status


def question_for(status: Status, step: int | None) -> Question:
    """The open question that an answer is for. Raises `BadInput` saying which there are."""
    if not status.questions:
        raise BadInput(f"task {status.task!r} has no open question: its state is {status.state}")
    if step is None and len(status.questions) > 1:
        raise BadInput(f"several questions are open: name the step of one of them, {_steps(status)}")
    found = [q for q in status.questions if step is None or q.step == step]
    if not found:
        raise BadInput(
            f"no question is open at step {step} of task {status.task!r}; open are: {_steps(status)}"
        )
    return found[0]


def check_answer(question: Question, value: Any) -> None:
    """Raises `BadInput` that names what the question allows. `value` is a JSON value."""
    if option_with(value, question.options):
        return
    if question.options and question.answer is None:
        raise BadInput(f"{_preview(value)} is not one of the options: {listed(question)}")
    if question.answer is not None:
        wrong = misfit(question.answer, value)
        if wrong is not None:
            raise BadInput(f"the answer does not fit the question: {wrong}")


def chosen(question: Question, text: str) -> Any:
    """What a person meant who typed `text` where options are numbered, from 1: a number, else as `named`."""
    numbered = {str(number): option.value for number, option in enumerate(question.options, 1)}
    typed = text.strip()
    return numbered[typed] if typed in numbered else named(question, text)


def named(question: Question, text: str) -> Any:
    """What is meant by `text` where options have no numbers: the label of one, else JSON, else the text.

    Where the answer is to be text, a number or `true` is the text that was typed.
    """
    for spelled in (str, str.casefold):
        for option in question.options:
            if spelled(option.label) == spelled(text.strip()):
                return option.value
    value = json_or_text(text, lambda exact: fits(question, exact))
    if option_with(text, question.options) and not option_with(value, question.options):
        return text
    takes_text = question.answer is not None and question.answer.get("type") == "string"
    return text if takes_text and not isinstance(value, str) else value


def picked(question: Question, value: Any) -> Any:
    """What a test picks by `value`: an int is an option's number (from 1), a text may be a label.

    Raises `BadInput` for a number that may be meant as a value as well. Anything else is the value.
    """
    given = as_answer(value)
    if type(value) is int and 1 <= value <= len(question.options):
        option = question.options[value - 1]
        if not is_same(option.value, given) and fits(question, given):
            raise BadInput(
                f"{value} is ambiguous: it is the number of option {option.label!r}, and "
                "a value too: answer with a label, "
                f"or with {float(value)} for the value"
            )
        return option.value
    if option_with(given, question.options):
        return given
    return next((option.value for option in question.options if option.label == given), given)


def as_answer(value: Any) -> Any:
    """The value in JSON's types, as a question's schema describes it. Raises `BadInput` if it has none."""
    given = jsonable(value, computed=False)
    json_of(given)
    return given


def fits(question: Question, value: Any) -> bool:
    try:
        check_answer(question, value)
    except BadInput:
        return False
    return True


def json_or_text(text: str, takes_text: Callable[[Any], bool] | None = None) -> Any:
    """A JSON value, or plain text where it is not JSON.

    A number whose digits no float holds stays a text where `takes_text` accepts that, as decimals do.
    """
    try:
        value = json.loads(text, parse_constant=_refused)
        if takes_text is None:
            return value
        exact = json.loads(text, parse_constant=_refused, parse_float=_float_or_text)
    except (ValueError, RecursionError):  # as deep as no record may be
        return text
    return exact if exact != value and takes_text(exact) else value


def _float_or_text(digits: str) -> float | str:
    number = float(digits)
    return number if isfinite(number) and Decimal(repr(number)) == Decimal(digits) else digits


def _refused(constant: str) -> Any:
    raise ValueError(f"{constant} is not valid JSON: only Python reads it")


def listed(question: Question) -> str:
    """The options by their numbers, on one line."""
    return "; ".join(f"{number} {option.label}" for number, option in enumerate(question.options, 1))


def _steps(status: Status) -> str:
    return ", ".join(f"{question.step} ({headline(question.text)})" for question in status.questions)


def _preview(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 60 else text[:59] + "…"
