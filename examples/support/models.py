"""What the workflow, its tools and its model say to each other. All of it travels as JSON."""

from datetime import date
from enum import StrEnum
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

Topic = Literal["returns", "shipping", "warranty", "addresses", "payment"]


class Value(BaseModel):
    model_config = ConfigDict(frozen=True)


class Case(Value):
    """A conversation begins. `customer` is who they are logged in as: never what they say they are."""

    customer: str
    message: str


class Item(Value):
    name: str
    price: float


class Order(Value):
    """Amounts in EUR. `refunded` is what was given back of `total` so far."""

    id: str
    customer: str
    items: list[Item]
    status: Literal["packing", "shipped", "delivered"]
    ordered: date
    delivered: date | None = None
    arrives: date | None = None
    address: str
    refunded: float = 0.0

    @property
    def total(self) -> float:
        return sum(item.price for item in self.items)

    @property
    def left(self) -> float:
        return round(self.total - self.refunded, 2)

    def __str__(self) -> str:
        return f"{self.id} ({', '.join(item.name for item in self.items)})"


# ---------------------------------------------------------------- what the model can do next


class Reply(Value):
    """Say something to the customer, and wait for what they say."""

    do: Literal["reply"] = "reply"
    text: str


class FindOrders(Value):
    """Look up the customer's orders, as they are now."""

    do: Literal["find_orders"] = "find_orders"


class ReadPolicy(Value):
    do: Literal["read_policy"] = "read_policy"
    topic: Topic


class Refund(Value):
    do: Literal["refund"] = "refund"
    order_id: str
    amount: float = Field(gt=0, description="In EUR")
    reason: str

    def __str__(self) -> str:
        return f"refund {self.amount:.2f} EUR of order {self.order_id}: {self.reason}"


class ChangeAddress(Value):
    do: Literal["change_address"] = "change_address"
    order_id: str
    address: str = Field(min_length=5)

    def __str__(self) -> str:
        return f"send order {self.order_id} to {self.address}"


class HandOver(Value):
    """Let a person go on: they asked for one, or nothing else here helps."""

    do: Literal["hand_over"] = "hand_over"
    reason: str


class Close(Value):
    """Say goodbye: the customer has what they came for."""

    do: Literal["close"] = "close"
    text: str


Action = Refund | ChangeAddress
AnyMove = Reply | FindOrders | ReadPolicy | Action | HandOver | Close


class Move(Value):
    move: Annotated[AnyMove, Field(discriminator="do")]


# ---------------------------------------------------------------- what has happened


class Said(Value):
    kind: Literal["said"] = "said"
    who: Literal["customer", "assistant", "person"]
    text: str


class OrdersFound(Value):
    kind: Literal["orders_found"] = "orders_found"
    orders: list[Order]


class PolicyRead(Value):
    kind: Literal["policy_read"] = "policy_read"
    topic: Topic
    text: str


class Acted(Value):
    """`unclear`: it failed in such a way that it may have been done all the same."""

    kind: Literal["acted"] = "acted"
    action: Annotated[Action, Field(discriminator="do")]
    outcome: Literal["done", "refused", "failed", "unclear"]
    detail: str = ""


class Failed(Value):
    """Something could not be looked up."""

    kind: Literal["failed"] = "failed"
    what: str


Entry = Annotated[Said | OrdersFound | PolicyRead | Acted | Failed, Field(discriminator="kind")]


class Verdict(StrEnum):
    APPROVE = "approve"
    REFUSE = "refuse"


class Person(StrEnum):
    """What a person who took over can do beside writing."""

    BACK = "back"
    CLOSE = "close"


class Closed(Value):
    """How a conversation ended, and what was done in it."""

    how: str
    messages: int
    done: list[str]
