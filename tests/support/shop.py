"""The example's tools over a shop in this process, and the workflow in memory."""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import date
from typing import Any

from examples.support.approval import known_order
from examples.support.models import AnyMove, ChangeAddress, Move, Order, Refund
from examples.support.offline.model import answer
from examples.support.routes import decide
from examples.support.shop_service import seeds
from examples.support.tools import read_policy
from examples.support.workflow import support
from segue import App, tool
from segue.topics.records import CallModel, Question
from tests.driver import Driver

TODAY = date(2026, 9, 21)
"""The driver's day."""


@dataclass
class Shop:
    """What the tools did is in `said` and `acted`; `failing` is raised by each action."""

    failing: Exception | None = None
    said: list[tuple[str, str]] = field(default_factory=list[tuple[str, str]])
    acted: list[str] = field(default_factory=list[str])

    def app(self) -> App:
        @tool
        async def find_orders(customer: str) -> list[Order]:
            return [order for order in seeds(TODAY) if order.customer == customer]

        @tool(retries=1)
        async def refund(wanted: Refund) -> None:
            self._act(wanted)

        @tool(retries=1)
        async def change_address(wanted: ChangeAddress) -> None:
            self._act(wanted)

        @tool
        async def post(who: str, text: str) -> None:
            self.said.append((who, text))

        return App(
            "support",
            workflows=[support],
            routes=[decide],
            tools=[find_orders, read_policy, refund, change_address, post],
            checks=[known_order],
        )

    def _act(self, wanted: Refund | ChangeAddress) -> None:
        if self.failing:
            raise self.failing
        self.acted.append(str(wanted))


@dataclass
class Talk:
    shop: Shop
    driver: Driver

    def say(self, message: Any) -> None:
        self._signal({"kind": "signal", "name": "message", "value": message})

    def answer(self, value: Any) -> None:
        self._signal({"kind": "answer", "value": value})

    def wait(self, hours: float) -> None:
        self.driver.run(until_ms=self.driver.now_ms + round(hours * 3_600_000))

    @property
    def question(self) -> Question:
        return [record for record in self.driver.records("questions") if isinstance(record, Question)][-1]

    @property
    def last(self) -> str:
        """What the customer was told last."""
        return [text for who, text in self.shop.said if who != "customer"][-1]

    @property
    def how(self) -> Any:
        return self.driver.result().result["how"]

    def _signal(self, signal: dict[str, Any]) -> None:
        self.driver.produce("signals", {"task": "t", **signal})
        self.driver.run(until_ms=self.driver.now_ms + 60_000)


def offline(call: CallModel) -> Any:
    return answer(call.prompt).model_dump(mode="json")


def always(move: AnyMove) -> Callable[[CallModel], Any]:
    return lambda _: Move(move=move).model_dump(mode="json")


def begun(
    customer: str, message: str, shop: Shop | None = None, model: Callable[[CallModel], Any] = offline
) -> Talk:
    shop = shop or Shop()
    driver = Driver(shop.app(), {"decide": model})
    driver.submit("support", {"customer": customer, "message": message})
    talk = Talk(shop, driver)
    talk.wait(hours=0.02)
    return talk
