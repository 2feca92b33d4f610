"""The services of the example: a refund once, no more than was paid; a message shown once."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from datetime import date
from pathlib import Path
from typing import Any

import httpx
import pytest
import uvicorn
from starlette.applications import Starlette

from examples.support import chat_service, shop_service, tools
from examples.support.models import ChangeAddress, Refund
from segue import Permanent
from segue.processors.stages.attempt import CURRENT, Attempt

LAMP: dict[str, Any] = {"order_id": "1042", "amount": 50.0, "reason": "damaged"}


@asynccontextmanager
async def served(application: Starlette) -> AsyncGenerator[httpx.AsyncClient]:
    server = uvicorn.Server(uvicorn.Config(application, port=0, log_level="warning"))
    serving = asyncio.create_task(server.serve())
    while not server.started:  # noqa: ASYNC110 - uvicorn has no event for it
        await asyncio.sleep(0.01)
    port = server.servers[0].sockets[0].getsockname()[1]
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", trust_env=False) as client:
        yield client
    server.should_exit = True
    await serving


@pytest.fixture
async def shop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncGenerator[httpx.AsyncClient]:
    async with served(shop_service.application(tmp_path / "shop.db", date(2026, 11, 25))) as client:
        monkeypatch.setattr(tools, "SHOP_URL", str(client.base_url))
        yield client


@pytest.fixture
async def chat(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncGenerator[httpx.AsyncClient]:
    async with served(chat_service.application(tmp_path / "chat.db")) as client:
        monkeypatch.setattr(tools, "CHAT_URL", str(client.base_url))
        yield client


def serving(key: str, task: str = "t") -> None:
    CURRENT.set(Attempt(task=task, step=9, attempt=1, idempotency_key=key))


async def orders(shop: httpx.AsyncClient, customer: str = "ana@example.com") -> dict[str, Any]:
    return {each["id"]: each for each in (await shop.get("/orders", params={"customer": customer})).json()}


async def test_orders_are_young_and_each_customer_has_their_own(shop: httpx.AsyncClient) -> None:
    ana, ben = await orders(shop), await orders(shop, "ben@example.com")
    assert (set(ana), set(ben)) == ({"1031", "1042", "1057"}, {"1018", "1049"})
    assert (ana["1042"]["delivered"], ana["1057"]["arrives"]) == ("2026-11-19", "2026-11-30")
    assert await orders(shop, "nobody@example.com") == {}


async def test_the_same_key_refunds_once(shop: httpx.AsyncClient) -> None:
    headers = {"Idempotency-Key": "t/9"}
    answers = [await shop.post("/refunds", json=LAMP, headers=headers) for _ in range(2)]
    other = await shop.post("/refunds", json={**LAMP, "amount": 1}, headers=headers)
    assert [answer.status_code for answer in (*answers, other)] == [201, 200, 422]
    assert (await shop.get("/refunds")).json() == [LAMP]
    assert (await orders(shop))["1042"]["refunded"] == 50.0


async def test_no_more_is_refunded_than_was_paid(shop: httpx.AsyncClient) -> None:
    answers = [await shop.post("/refunds", json=LAMP, headers={"Idempotency-Key": key}) for key in ("a", "b")]
    assert [answer.status_code for answer in answers] == [201, 409]
    assert answers[1].json() == {"detail": "only 39.00 EUR of order 1042 are left to refund"}


async def test_an_address_is_changed_until_the_parcel_has_left(shop: httpx.AsyncClient) -> None:
    new = {"address": "Rua Augusta 5, Lisboa"}
    answers = [await shop.put(f"/orders/{order}/address", json=new) for order in ("1057", "1049", "9999")]
    assert [answer.status_code for answer in answers] == [204, 409, 404]
    assert (await orders(shop))["1057"]["address"] == new["address"]


async def test_a_fault_fails_as_often_as_it_says(shop: httpx.AsyncClient) -> None:
    await shop.put("/faults", json={"fail": 2})
    assert [(await shop.get("/orders")).status_code for _ in range(3)] == [503, 503, 200]


@pytest.mark.parametrize(
    ("method", "path", "body", "status"),
    [
        ("POST", "/refunds", {**LAMP, "amount": 0}, 422),
        ("POST", "/refunds", {**LAMP, "order_id": "9999"}, 404),
        ("PUT", "/orders/1057/address", {"address": ""}, 422),
        ("PUT", "/faults", {"fail": "sometimes"}, 422),
        ("GET", "/health", None, 200),
    ],
)
async def test_what_makes_no_sense_is_refused(
    shop: httpx.AsyncClient, method: str, path: str, body: Any, status: int
) -> None:
    answer = await shop.request(method, path, json=body, headers={"Idempotency-Key": "k"})
    assert answer.status_code == status


async def test_a_refund_without_a_key_is_refused(shop: httpx.AsyncClient) -> None:
    assert (await shop.post("/refunds", json=LAMP)).status_code == 400


async def test_the_tools_act_once_and_say_the_shop_s_no(shop: httpx.AsyncClient) -> None:
    serving("t/9")
    for _ in range(2):
        await tools.refund(Refund(**LAMP))
    serving("t/10")
    with pytest.raises(Permanent, match=r"only 39\.00 EUR"):
        await tools.refund(Refund(**LAMP))
    await tools.change_address(ChangeAddress(order_id="1057", address="Rua Augusta 5, Lisboa"))
    with pytest.raises(Permanent, match="order 1049 has left already"):
        await tools.change_address(ChangeAddress(order_id="1049", address="Rua Augusta 5, Lisboa"))
    found = {order.id: order for order in await tools.find_orders("ana@example.com")}
    assert (found["1042"].left, found["1057"].address) == (39.0, "Rua Augusta 5, Lisboa")


async def test_what_is_said_is_shown_once_and_in_order(chat: httpx.AsyncClient) -> None:
    for key, text in (("t/1", "hello"), ("t/1", "hello"), ("t/2", "bye")):
        serving(key, task="talk 1/ü?")
        await tools.post("assistant", text)
    path = "/conversations/talk%201/%C3%BC%3F"
    shown = (await chat.get(path)).json()
    assert [message["text"] for message in shown] == ["hello", "bye"]
    assert (await chat.get(path, params={"after": shown[0]["id"]})).json() == shown[1:]
    assert (await chat.get(path, params={"after": "x"})).status_code == 422
