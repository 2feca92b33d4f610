"""What the model may not decide alone, and what its answer must be, beyond its type."""

from collections.abc import Sequence

from segue import OutputRejected, check

from .models import Action, Entry, Move, Order, OrdersFound, Refund, Said

REFUND_MAX = 100.0
"""In EUR. More than that, for one order in all, is a supervisor's to give."""

VALUE_MAX = 300.0
"""A parcel worth more is not sent elsewhere without a supervisor: that is how they are stolen."""

SHOWN_MAX = 12
"""What was said last is what a person decides by."""


def consent_needed(action: Action, log: Sequence[Entry]) -> str | None:
    """What to ask a supervisor, if one must agree."""
    [order] = [order for order in found(log) if order.id == action.order_id]
    if isinstance(action, Refund):
        return f"{action}?" if order.refunded + action.amount > REFUND_MAX else None
    return f"{action}? It is worth {order.total:.2f} EUR." if order.total > VALUE_MAX else None


@check
def known_order(move: Move, found: list[Order]) -> None:
    """An action is about an order that was looked up, and gives back no more than was paid."""
    action = move.move
    if not isinstance(action, Action):
        return
    order = next((order for order in found if order.id == action.order_id), None)
    if order is None:
        raise OutputRejected(
            f"No order {action.order_id!r} was found for this customer. Look the orders up first."
        )
    if isinstance(action, Refund) and action.amount > order.left:
        raise OutputRejected(f"Of order {order.id} only {order.left:.2f} EUR can be refunded.")


def found(log: Sequence[Entry]) -> list[Order]:
    """The customer's orders, as they were last looked up."""
    lookups = [entry.orders for entry in log if isinstance(entry, OrdersFound)]
    return lookups[-1] if lookups else []


def transcript(log: Sequence[Entry]) -> str:
    said = [f"{entry.who}: {entry.text}" for entry in log if isinstance(entry, Said)]
    return "\n".join(said[-SHOWN_MAX:])
