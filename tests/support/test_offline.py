"""The offline model reads what customers write, and chooses by what it knows of the shop's orders."""

from datetime import date
from typing import Any

import pytest

from examples.support.models import (
    Acted,
    AnyMove,
    ChangeAddress,
    Close,
    Entry,
    Failed,
    FindOrders,
    HandOver,
    OrdersFound,
    PolicyRead,
    ReadPolicy,
    Refund,
    Reply,
    Said,
)
from examples.support.offline.moves import decide
from examples.support.offline.wish import Wish, add
from examples.support.shop_service import seeds
from examples.support.tools import POLICIES

ANA, BEN = "ana@example.com", "ben@example.com"
TODAY = date(2026, 11, 25)


def talk(customer: str, *messages: str) -> list[AnyMove]:
    """The moves after the last message; what is looked up or done before it is."""
    log: list[Entry] = []
    moves: list[AnyMove] = []
    for message in messages:
        log.append(Said(who="customer", text=message))
        moves = []
        while not moves or not isinstance(moves[-1], Reply | HandOver | Close):
            moves.append(decide(log, customer, TODAY))
            log.append(_entry(moves[-1], customer))
    return moves


def _entry(move: AnyMove, customer: str) -> Entry:
    match move:
        case FindOrders():
            return OrdersFound(orders=[order for order in seeds(TODAY) if order.customer == customer])
        case ReadPolicy(topic=topic):
            return PolicyRead(topic=topic, text=(POLICIES / f"{topic}.md").read_text("utf-8"))
        case Refund() | ChangeAddress():
            return Acted(action=move, outcome="done")
        case Reply(text=text) | Close(text=text):
            return Said(who="assistant", text=text)
        case HandOver(reason=reason):
            return Said(who="assistant", text=reason)


def acted(customer: str, *messages: str) -> list[str]:
    return [str(move) for move in talk(customer, *messages) if isinstance(move, Refund | ChangeAddress)]


def told(customer: str, *messages: str) -> str:
    last = talk(customer, *messages)[-1]
    assert isinstance(last, Reply), last
    return last.text


@pytest.mark.parametrize(
    ("text", "wish"),
    [
        ("My desk lamp arrived broken, I want my money back.", {"intent": "refund", "reason": "damaged"}),
        ("I'd like to return order 1049", {"intent": "refund", "order": "1049"}),
        ("please refund 20,50 € of #1042", {"intent": "refund", "order": "1042", "amount": 20.5}),
        ("can I get half of my money back for 1018?", {"intent": "refund", "order": "1018", "half": True}),
        ("cancel 1057 please", {"intent": "refund", "order": "1057"}),
        ("the grinder stopped working", {"intent": "complaint", "reason": "broke"}),
        ("you sent the wrong colour", {"intent": "complaint", "reason": "wrong"}),
        ("Where's order no. 1057?", {"intent": "where", "order": "1057"}),
        ("my parcel hasn't arrived", {"intent": "where"}),
        ("I moved! new address: Rua X 9, Lisboa", {"intent": "address", "address": "Rua X 9, Lisboa"}),
        ("send order 1057 to Weg 5, Köln", {"intent": "address", "order": "1057", "address": "Weg 5, Köln"}),
        ("How long is the warranty?", {"intent": "policy", "topic": "warranty"}),
        ("do you deliver to parcel lockers", {"intent": "policy", "topic": "shipping"}),
        ("can I pay by invoice?", {"intent": "policy", "topic": "payment"}),
        ("Can I return things?", {"intent": "policy", "topic": "returns"}),
        ("let me talk to a real person", {"intent": "human"}),
        ("Thanks, that's all!", {"intent": "bye"}),
        ("thank you, it's 1042", {"order": "1042"}),
        ("the weather is nice", {"lost": 1}),
    ],
)  # fmt: skip
def test_a_message_is_understood(text: str, wish: dict[str, Any]) -> None:
    understood = add(Wish(), text)
    assert Wish(**wish, said=understood.said, latest=understood.latest) == understood


@pytest.mark.parametrize(
    ("customer", "messages", "actions"),
    [
        (ANA, ["my lamp came broken, refund it"], ["refund 89.00 EUR of order 1042: arrived damaged"]),
        (ANA, ["my lamp came broken", "yes, please"], ["refund 89.00 EUR of order 1042: arrived damaged"]),
        (ANA, ["I want a refund", "the lamp"], ["refund 89.00 EUR of order 1042: sent back in time"]),
        (ANA, ["I want a refund", "1042"], ["refund 89.00 EUR of order 1042: sent back in time"]),
        (ANA, ["refund 30 eur of order 1042"], ["refund 30.00 EUR of order 1042: sent back in time"]),
        (ANA, ["cancel the bookshelf"], ["refund 349.00 EUR of order 1057: cancelled before it left"]),
        (ANA, ["cancel order 1057"], ["refund 361.50 EUR of order 1057: cancelled before it left"]),
        (BEN, ["send back the table, half will do"], ["refund 390.00 EUR of order 1018: sent back in time"]),
        (
            ANA,
            ["the blanket has a hole, refund please", "it arrived torn"],
            ["refund 64.00 EUR of order 1031: under warranty"],
        ),
        (
            ANA,
            ["I want to change the address", "Largo da Sé 9, 1100-585 Lisboa"],
            ["send order 1057 to Largo da Sé 9, 1100-585 Lisboa"],
        ),
        (
            ANA,
            ["where is 1057?", "can it go to Rua Augusta 5, 1100-048 Lisboa?"],
            ["send order 1057 to Rua Augusta 5, 1100-048 Lisboa"],
        ),
    ],
)
def test_what_is_wanted_is_done(customer: str, messages: list[str], actions: list[str]) -> None:
    assert acted(customer, *messages) == actions


@pytest.mark.parametrize(
    ("customer", "messages", "reply"),
    [
        (ANA, ["where is my order?"], "Which order do you mean? Yours are: 1031 (Wool blanket); 1042"),
        (
            ANA,
            ["where is 1057?", "and the blanket?"],
            "Order 1031 (Wool blanket) was delivered on 2026-10-12",
        ),
        (BEN, ["where is the grinder"], "is on its way and should arrive on 2026-11-26"),
        (BEN, ["refund order 1042"], "I find no order 1042 of ben@example.com. Yours are: 1018"),
        (BEN, ["return the grinder"], "You can send it back within 30 days after that."),
        (BEN, ["send 1049 to Hauptstr. 5, Bonn"], "has left already: I can't change its address"),
        (ANA, ["return the blanket"], "was delivered 44 days ago, and we take things back within 30 days."),
        (ANA, ["refund 500 euro of order 1042"], "89.00 EUR can still be refunded"),
        (ANA, ["change my address please"], "To which address shall I send order 1057"),
        (ANA, ["how long do I have a guarantee?"], "a warranty of 730 days"),
        (ANA, ["refund 1042", "where is it?"], "Order 1042 (Fjell desk lamp) was delivered on"),
        (ANA, ["blah"], "I'm sorry, I did not understand that."),
    ],
)
def test_what_is_asked_is_answered(customer: str, messages: list[str], reply: str) -> None:
    assert reply in told(customer, *messages)
    assert acted(customer, messages[-1]) == []


def test_it_hands_over_what_it_does_not_understand_twice() -> None:
    assert talk(ANA, "blah", "blub")[-1] == HandOver(reason="the assistant does not understand the customer")
    assert isinstance(talk(ANA, "blah", "where is 1057?", "blub")[-1], Reply)


def test_it_hands_over_when_asked_to_and_says_goodbye() -> None:
    assert isinstance(talk(ANA, "a human please")[-1], HandOver)
    assert isinstance(talk(ANA, "where is 1057?", "no, thank you")[-1], Close)


def test_it_looks_orders_up_anew_after_each_message_and_policies_once() -> None:
    assert [move.do for move in talk(ANA, "refund the lamp")] == [
        "find_orders",
        "read_policy",
        "refund",
        "reply",
    ]
    assert [move.do for move in talk(ANA, "refund the lamp", "cancel order 1057")] == [
        "find_orders",
        "refund",
        "reply",
    ]


def test_what_came_of_an_action_is_told() -> None:
    action = Refund(order_id="1042", amount=89, reason="arrived damaged")
    log: list[Entry] = [Said(who="customer", text="refund the broken lamp")]
    refused = decide(
        [*log, Acted(action=action, outcome="refused", detail="Send a photo first.")], ANA, TODAY
    )
    assert isinstance(refused, Reply)
    assert refused.text.endswith("Send a photo first.")
    assert isinstance(decide([*log, Acted(action=action, outcome="unclear")], ANA, TODAY), HandOver)
    assert decide([*log, Failed(what="the shop is closed")], ANA, TODAY) == HandOver(
        reason="the shop is closed"
    )
