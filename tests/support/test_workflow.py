"""The workflow in memory: what needs a person, what a person may say, and what happens if nobody does."""

import pytest

from examples.support.models import FindOrders, Refund
from segue import Permanent, Retryable
from tests.support.shop import Shop, always, begun

ANA, BEN = "ana@example.com", "ben@example.com"
LAMP = "refund 89.00 EUR of order 1042: arrived damaged"
TABLE = "refund 780.00 EUR of order 1018: arrived damaged"
SCRATCHED = "The dining table arrived scratched, refund it please"


def test_a_small_refund_needs_nobody() -> None:
    talk = begun(ANA, "My desk lamp arrived broken, I want my money back.")
    assert talk.shop.acted == [LAMP]
    assert talk.driver.records("questions") == []
    assert talk.last.startswith("Done: the refund of 89.00 EUR for order 1042")


def test_nothing_is_paid_above_the_limit_before_a_supervisor_approves() -> None:
    talk = begun(BEN, SCRATCHED)
    assert (talk.question.to, talk.question.text.partition("\n")[0]) == ("supervisor", f"May I {TABLE}?")
    assert talk.shop.acted == []
    talk.answer("Approve")
    assert talk.shop.acted == [TABLE]


@pytest.mark.parametrize(
    ("verdict", "told"),
    [
        ("Refuse", "I'm sorry, my colleague could not agree to the refund of 780.00 EUR for order 1018."),
        ("We can give half of it back", "We can give half of it back"),
    ],
)
def test_a_refusal_is_told_with_what_the_supervisor_says(verdict: str, told: str) -> None:
    talk = begun(BEN, SCRATCHED)
    talk.answer(verdict)
    assert told in talk.last
    assert talk.shop.acted == []


def test_a_supervisor_who_does_not_answer_has_refused() -> None:
    talk = begun(BEN, SCRATCHED)
    talk.wait(hours=25)
    assert "Nobody could decide this in time." in talk.last
    assert talk.shop.acted == []


def test_a_parcel_of_value_goes_elsewhere_only_with_consent() -> None:
    talk = begun(ANA, "please send order 1057 to Rua Augusta 5, 1100-048 Lisboa")
    assert "It is worth 361.50 EUR." in talk.question.text
    talk.answer("Approve")
    assert talk.shop.acted == ["send order 1057 to Rua Augusta 5, 1100-048 Lisboa"]


def test_messages_that_come_while_a_supervisor_thinks_are_answered_afterwards_in_order() -> None:
    talk = begun(BEN, SCRATCHED)
    talk.say("and where is the grinder?")
    talk.say("thanks")
    assert len(talk.shop.said) == 2
    talk.answer("Approve")
    assert [who for who, _ in talk.shop.said] == [
        "customer",
        "assistant",  # has to ask
        "assistant",  # the refund
        "customer",
        "assistant",  # the grinder
        "customer",
        "assistant",  # goodbye
    ]
    assert talk.how == "the customer was served"


def test_the_shop_s_no_is_told() -> None:
    talk = begun(ANA, "refund order 1042, it came broken", Shop(failing=Permanent("only 0.00 EUR are left")))
    assert "was not possible: only 0.00 EUR are left" in talk.last


def test_a_person_takes_over_where_it_is_unclear_whether_money_went() -> None:
    talk = begun(ANA, "refund order 1042, it came broken", Shop(failing=Retryable("no answer")))
    assert talk.question.to == "agent"
    assert "it is unclear whether the refund of 89.00 EUR for order 1042 was done" in talk.question.text


def test_a_person_writes_until_they_give_the_conversation_back() -> None:
    talk = begun(ANA, "I want to talk to a human")
    talk.answer("This is Kim.")
    assert talk.shop.said[-1] == ("person", "This is Kim.")
    talk.say("hello Kim")
    assert talk.question.text.endswith("person: This is Kim.\ncustomer: hello Kim")
    talk.answer("Back to the assistant")
    talk.say("where is 1057?")
    assert "is being packed" in talk.last


def test_a_conversation_that_nobody_takes_over_is_closed() -> None:
    talk = begun(ANA, "I want to talk to a human")
    talk.wait(hours=25)
    assert talk.how == "a person closed it"


def test_a_customer_who_falls_silent_ends_the_conversation_after_three_days() -> None:
    talk = begun(ANA, "where is 1057?")
    talk.wait(hours=71)
    talk.say("and 1042?")
    talk.wait(hours=71)
    assert talk.driver.records("results") == []
    talk.wait(hours=2)
    assert talk.driver.result().result == {"how": "the customer fell silent", "messages": 2, "done": []}


def test_a_message_that_is_a_number_is_a_message() -> None:
    talk = begun(ANA, "where is my order?")
    assert talk.last.startswith("Which order do you mean?")
    talk.say(1057)
    assert "is being packed" in talk.last


def test_a_model_that_goes_round_in_circles_is_replaced_by_a_person() -> None:
    talk = begun(ANA, "hello", model=always(FindOrders()))
    assert (talk.question.to, "does not know how to go on" in talk.question.text) == ("agent", True)


def test_a_model_can_not_refund_what_is_another_customer_s() -> None:
    talk = begun(BEN, "hello", model=always(Refund(order_id="1042", amount=10, reason="please")))
    assert talk.shop.acted == []
    assert talk.question.to == "agent"
    assert "No order '1042' was found for this customer" in talk.question.text
