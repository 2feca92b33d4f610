"""The next move, by what the customer wants, what was looked up since, and what the policies say."""

import re
from collections.abc import Mapping, Sequence
from datetime import date

from ..models import (
    Acted,
    AnyMove,
    ChangeAddress,
    Close,
    Entry,
    Failed,
    FindOrders,
    HandOver,
    Order,
    OrdersFound,
    PolicyRead,
    ReadPolicy,
    Refund,
    Reply,
    Said,
    Topic,
)
from .wish import Wish, standing, words

LOST_MAX = 2
"""Messages in a row that it did not understand, until a person is called."""

MORE = "Is there anything else?"


def decide(log: Sequence[Entry], customer: str, today: date) -> AnyMove:
    wish, since = standing(log), _since_the_customer_spoke(log)
    if acted := next((entry for entry in since if isinstance(entry, Acted)), None):
        return _told(acted)
    if failed := next((entry for entry in since if isinstance(entry, Failed)), None):
        return HandOver(reason=failed.what)
    if wish.intent == "human":
        return HandOver(reason="the customer asked for a person")
    if wish.lost >= LOST_MAX:
        return HandOver(reason="the assistant does not understand the customer")
    if wish.lost or wish.intent is None:
        return Reply(
            text="I'm sorry, I did not understand that. I can look after orders, refunds and addresses."
        )
    if wish.intent == "bye":
        return Close(text="You're welcome. Goodbye!")
    policies: dict[Topic, str] = {entry.topic: entry.text for entry in log if isinstance(entry, PolicyRead)}
    if wish.intent == "policy":
        return _policy(wish.topic or "returns", policies)
    found = next((entry for entry in since if isinstance(entry, OrdersFound)), None)
    return FindOrders() if found is None else _about_orders(wish, found.orders, customer, policies, today)


def _since_the_customer_spoke(log: Sequence[Entry]) -> Sequence[Entry]:
    spoke = [n for n, entry in enumerate(log) if isinstance(entry, Said) and entry.who == "customer"]
    return log[spoke[-1] :] if spoke else log


def _about_orders(
    wish: Wish, orders: list[Order], customer: str, policies: Mapping[Topic, str], today: date
) -> AnyMove:
    theirs = "; ".join(map(str, orders)) or "none"
    order = _meant(wish, orders)
    if order is None and wish.order:
        return Reply(text=f"I find no order {wish.order} of {customer}. Yours are: {theirs}.")
    if order is None:
        return Reply(text=f"Which order do you mean? Yours are: {theirs}.")
    match wish.intent:
        case "where":
            return Reply(text=f"{_whereabouts(order)} {MORE}")
        case "address":
            return _address(wish, order)
        case "complaint":
            return Reply(text=f"I'm sorry to hear that about order {order}. Shall I give you the money back?")
        case _:
            return _refund(wish, order, policies, today)


def _meant(wish: Wish, orders: list[Order]) -> Order | None:
    """By what was named last, by its number, by an item named before, or the only one there is."""
    latest = _named(wish.latest, orders)
    if len(latest) == 1:
        return latest[0]
    if wish.order:
        return next((order for order in orders if order.id == wish.order), None)
    named = _named(wish.said, orders)
    if wish.intent == "address" and not named:  # of the others the address can't be changed any more
        orders = [order for order in orders if order.status == "packing"] or orders
    candidates = named or orders
    return candidates[0] if len(candidates) == 1 else None


def _named(said: frozenset[str], orders: list[Order]) -> list[Order]:
    return [order for order in orders if any(said & words(item.name) for item in order.items)]


def _whereabouts(order: Order) -> str:
    match order.status:
        case "packing":
            return f"Order {order} is being packed and should arrive on {order.arrives}."
        case "shipped":
            return f"Order {order} is on its way and should arrive on {order.arrives}."
        case "delivered":
            return f"Order {order} was delivered on {order.delivered} to {order.address}."


def _policy(topic: Topic, policies: Mapping[Topic, str]) -> AnyMove:
    if topic not in policies:
        return ReadPolicy(topic=topic)
    return Reply(text=f"{' '.join(policies[topic].split())} {MORE}")


def _address(wish: Wish, order: Order) -> AnyMove:
    if order.status != "packing":
        return Reply(text=f"Order {order} has left already: I can't change its address any more. {MORE}")
    if wish.address is None:
        return Reply(text=f"To which address shall I send order {order}?")
    return ChangeAddress(order_id=order.id, address=wish.address)


def _refund(wish: Wish, order: Order, policies: Mapping[Topic, str], today: date) -> AnyMove:
    if "returns" not in policies:
        return ReadPolicy(topic="returns")
    amount = _amount(wish, order)
    if not 0 < amount <= order.left:
        return Reply(text=f"Of order {order} {order.left:.2f} EUR can still be refunded. {MORE}")
    if order.status == "packing":
        return Refund(order_id=order.id, amount=amount, reason="cancelled before it left")
    if order.status == "shipped" or order.delivered is None:
        days = _days(policies["returns"])
        return Reply(text=f"{_whereabouts(order)} You can send it back within {days} days after that. {MORE}")
    age_days, reason = (today - order.delivered).days, wish.reason
    if age_days <= _days(policies["returns"]):
        why = {"damaged": "arrived damaged", "wrong": "wrong or incomplete", "broke": "broke in use"}
        return Refund(order_id=order.id, amount=amount, reason=why.get(reason or "", "sent back in time"))
    if reason is None:
        return Reply(
            text=f"Order {order} was delivered {age_days} days ago, and we take things back within "
            f"{_days(policies['returns'])} days. Was something wrong with it?"
        )
    if "warranty" not in policies:
        return ReadPolicy(topic="warranty")
    if age_days <= _days(policies["warranty"]):
        return Refund(order_id=order.id, amount=amount, reason="under warranty")
    return Reply(text=f"I'm sorry: the warranty of order {order} has ended. {MORE}")


def _amount(wish: Wish, order: Order) -> float:
    """What the customer asks for: a sum, a half, the items that they name, or all."""
    if wish.amount is not None:
        return wish.amount
    if wish.half:
        return round(order.left / 2, 2)
    named = [item.price for item in order.items if wish.said & words(item.name)]
    return round(min(sum(named), order.left), 2) if named else order.left


def _days(policy: str) -> int:
    """The first number of days that a policy names."""
    found = re.search(r"(\d+) days", policy)
    return int(found[1]) if found else 0


def _told(acted: Acted) -> AnyMove:
    action = acted.action
    what = (
        f"the refund of {action.amount:.2f} EUR for order {action.order_id}"
        if isinstance(action, Refund)
        else f"the new address of order {action.order_id}"
    )
    match acted.outcome:
        case "done":
            done = "is on its way to your account" if isinstance(action, Refund) else f"is {action.address}"
            return Reply(text=f"Done: {what} {done}. {MORE}")
        case "refused":
            return Reply(text=f"I'm sorry, my colleague could not agree to {what}. {acted.detail or MORE}")
        case "failed":
            return Reply(text=f"I'm sorry, {what} was not possible: {acted.detail}. {MORE}")
        case "unclear":
            return HandOver(reason=f"it is unclear whether {what} was done: {acted.detail}")
