"""The tools that call services. What a failure means, HTTP says: nothing needs to be caught here."""

from http import HTTPStatus
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx
from pydantic import TypeAdapter

from segue import Permanent, current_attempt, tool

from .addresses import CHAT_URL, SHOP_URL
from .models import ChangeAddress, Order, Refund, Topic

TIMEOUT_S = 60.0
"""Longer than any policy here: the policy's own time-out is the one that counts."""

POLICIES = Path(__file__).parent / "policies"
_ORDERS = TypeAdapter(list[Order])


@tool(timeout_s=10, retries=5)
async def find_orders(customer: str) -> list[Order]:
    async with httpx.AsyncClient(base_url=SHOP_URL, timeout=TIMEOUT_S) as client:
        response = await client.get("/orders", params={"customer": customer})
    return _ORDERS.validate_json(response.raise_for_status().content)


@tool
async def read_policy(topic: Topic) -> str:
    return (POLICIES / f"{topic}.md").read_text("utf-8")


@tool(timeout_s=30, retries=8)
async def refund(wanted: Refund) -> None:
    """Give money back. The shop knows the step by its key: an attempt that is repeated pays nothing again."""
    body = wanted.model_dump(include={"order_id", "amount", "reason"})
    await _write("POST", SHOP_URL, "/refunds", body)


@tool(timeout_s=30, retries=8)
async def change_address(wanted: ChangeAddress) -> None:
    await _write("PUT", SHOP_URL, f"/orders/{wanted.order_id}/address", {"address": wanted.address})


@tool(timeout_s=10, retries=100)
async def post(who: str, text: str) -> None:
    """Into the conversation that the customer sees; it has the task's id. An hour of outage is outlasted."""
    path = f"/conversations/{quote(current_attempt().task)}"
    await _write("POST", CHAT_URL, path, {"who": who, "text": text})


async def _write(method: str, url: str, path: str, body: dict[str, Any]) -> None:
    headers = {"Idempotency-Key": current_attempt().idempotency_key}
    async with httpx.AsyncClient(base_url=url, timeout=TIMEOUT_S) as client:
        response = await client.request(method, path, json=body, headers=headers)
    if response.status_code == HTTPStatus.CONFLICT:  # elsewhere a 409 passes; here it is the shop's no
        raise Permanent(response.json()["detail"])
    response.raise_for_status()
