"""What fits a question, and what a person who types means."""

import json
from typing import Any

import pytest

from segue.streams.client.answers import check_answer, chosen, named, picked, question_for
from segue.topics.errors import BadInput
from segue.topics.records import Option, Question, Status

CHOICE = Question(
    task="t",
    step=4,
    workflow="w",
    to="me",
    text="Which?",
    options=(Option(label="Alba", value={"id": 7}), Option(label="Casa do Mar", value={"id": 9})),
    at_ms=0,
)
NUMBER = Question(
    task="t", step=5, workflow="w", to="me", text="How many?", answer={"type": "integer"}, at_ms=0
)


def status(*questions: Question) -> Status:
    return Status(
        task="t",
        workflow="w",
        version=1,
        state="waiting",
        questions=questions,
        partition=0,
        offset=0,
        started_ms=0,
        at_ms=0,
    )


@pytest.mark.parametrize("text", ["2", "casa do mar", " Casa do Mar ", '{"id": 9}'])
def test_an_option_is_chosen_by_number_label_or_value(text: str) -> None:
    assert chosen(CHOICE, text) == {"id": 9}


def offering(**values: Any) -> Question:
    options = tuple(Option(label=label, value=value) for label, value in values.items())
    return CHOICE.model_copy(update={"options": options})


MIXED = offering(low=10, mid=1, yes=True, third=3)
YES_NO = offering(no=False, yes=True)


@pytest.mark.parametrize(
    ("question", "typed", "meant"),
    [
        (YES_NO, "1", "false"),
        (YES_NO, "2", "true"),
        (YES_NO, "true", "true"),
        (MIXED, "1", "10"),
        (MIXED, "2", "1"),
        (MIXED, "3", "true"),
        (MIXED, "third", "3"),
        (MIXED, "10", "10"),
        (offering(**{"2": 20, "1": 10}), "1", "20"),
        (offering(a=1, A=2), "A", "2"),
        (offering(one="1", other="7"), "7", '"7"'),
    ],
)
def test_what_is_typed_is_a_number_then_a_label_then_a_value(
    question: Question, typed: str, meant: str
) -> None:
    value = chosen(question, typed)
    assert json.dumps(value) == meant
    check_answer(question, value)


def test_without_numbers_what_is_typed_is_a_label_or_a_value() -> None:
    assert (named(MIXED, "1"), named(MIXED, "Low"), named(YES_NO, "true")) == (1, 10, True)


@pytest.mark.parametrize(
    ("question", "value"),
    [(YES_NO, 1), (YES_NO, 0), (offering(one=[1]), [True]), (offering(a={"n": 0}), {"n": False})],
)
def test_a_number_is_no_yes_and_a_yes_no_number(question: Question, value: Any) -> None:
    with pytest.raises(BadInput, match="is not one of the options"):
        check_answer(question, value)
    with pytest.raises(BadInput, match="0 is not one of the options: 1 no; 2 yes"):
        check_answer(YES_NO, chosen(YES_NO, "0"))


def test_one_is_one_however_it_is_written() -> None:
    check_answer(MIXED, 1.0)
    assert chosen(MIXED, "10.0") == 10


def test_a_test_may_give_a_number_a_label_or_a_value() -> None:
    for given, value in {1: False, 2: True, "yes": True, "maybe": "maybe"}.items():
        assert picked(YES_NO, given) is value
    assert picked(YES_NO, True) is True
    assert picked(CHOICE, {"id": 9}) == {"id": 9}
    assert picked(offering(a="b", b="a"), "b") == "b"


@pytest.mark.parametrize(
    "question", [MIXED, offering(none=0).model_copy(update={"answer": {"type": "integer"}})]
)
def test_a_test_that_gives_a_number_of_two_meanings_is_told(question: Question) -> None:
    label = question.options[0].label
    with pytest.raises(
        BadInput,
        match=f"1 is ambiguous: it is the number of option '{label}', and a value too: .* 1.0 for the value",
    ):
        picked(question, 1)
    assert picked(question, 1.0) == 1


REVIEW = CHOICE.model_copy(
    update={"options": (Option(label="Send it", value="send"),), "answer": {"type": "string"}}
)
"""Options, or something else."""


def test_options_may_leave_room_for_something_else() -> None:
    for typed, meant in {"1": "send", "SEND IT": "send", "friendlier, please": "friendlier, please"}.items():
        assert chosen(REVIEW, typed) == meant
        check_answer(REVIEW, meant)
    with pytest.raises(BadInput, match="7 is not of type 'string'"):
        check_answer(REVIEW, 7)


@pytest.mark.parametrize("typed", ["1042", "true", '{"a": 1}'])
def test_a_number_is_text_where_text_is_asked_for(typed: str) -> None:
    assert chosen(NUMBER.model_copy(update={"answer": {"type": "string"}}), typed) == typed
    assert chosen(REVIEW, typed) == typed


def test_text_that_is_no_json_is_text() -> None:
    assert chosen(NUMBER, "many") == "many"


def test_a_value_outside_the_options_is_refused_with_the_options() -> None:
    with pytest.raises(BadInput, match="3 is not one of the options: 1 Alba; 2 Casa do Mar"):
        check_answer(CHOICE, 3)


def test_a_value_that_does_not_fit_the_schema_is_refused() -> None:
    with pytest.raises(BadInput, match="'many' is not of type 'integer'"):
        check_answer(NUMBER, "many")
    check_answer(NUMBER, 3)


def test_the_only_open_question_needs_no_step() -> None:
    assert question_for(status(CHOICE), None) == CHOICE


def test_of_several_questions_the_step_must_be_named() -> None:
    with pytest.raises(BadInput, match=r"one of them, 4 \(Which\?\), 5 \(How many\?\)"):
        question_for(status(CHOICE, NUMBER), None)
    assert question_for(status(CHOICE, NUMBER), 5) == NUMBER


def test_a_closed_question_is_refused_with_what_is_open() -> None:
    with pytest.raises(BadInput, match=r"no question is open at step 9 of task 't'; open are: 4 \(Which\?\)"):
        question_for(status(CHOICE), 9)
    with pytest.raises(BadInput, match="has no open question"):
        question_for(status(), None)
