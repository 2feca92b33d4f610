"""What fits a question, and what a person who types means."""

import pytest

from streams.answers import check_answer, chosen, question_for
from topics.errors import BadInput
from topics.records import Option, Question, Status

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


def test_an_option_that_is_a_number_is_chosen_by_value_not_by_place() -> None:
    nights = CHOICE.model_copy(
        update={"options": (Option(label="three", value=3), Option(label="one", value=1))}
    )
    assert chosen(nights, "1") == 1


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
    with pytest.raises(BadInput, match="3 is not among the options: 1 Alba; 2 Casa do Mar"):
        check_answer(CHOICE, 3)


def test_a_value_that_does_not_fit_the_schema_is_refused() -> None:
    with pytest.raises(BadInput, match="'many' is not of type 'integer'"):
        check_answer(NUMBER, "many")
    check_answer(NUMBER, 3)


def test_the_only_open_question_needs_no_step() -> None:
    assert question_for(status(CHOICE), None) == CHOICE


def test_of_several_questions_the_step_must_be_named() -> None:
    with pytest.raises(BadInput, match=r"one of 4 \(Which\?\), 5 \(How many\?\)"):
        question_for(status(CHOICE, NUMBER), None)
    assert question_for(status(CHOICE, NUMBER), 5) == NUMBER


def test_a_closed_question_is_refused_with_what_is_open() -> None:
    with pytest.raises(BadInput, match=r"no question is open at step 9 of task 't'; open is: 4 \(Which\?\)"):
        question_for(status(CHOICE), 9)
    with pytest.raises(BadInput, match="asks nothing now"):
        question_for(status(), None)
