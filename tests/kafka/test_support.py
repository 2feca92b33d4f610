"""The example `support`, whole: long conversations, a failing shop, and workers killed on the way."""

import asyncio
import sys
from collections.abc import AsyncGenerator
from dataclasses import dataclass
from typing import Any

import httpx
import pytest_asyncio

from segue.streams.settings import Settings
from tests.kafka.conftest import free_port
from tests.kafka.running import PATIENCE_S, ROOT, Running, running, until


@dataclass
class Shop:
    at: Running
    shop: str
    chat: str

    async def refunds(self) -> list[dict[str, Any]]:
        return await _get(f"{self.shop}/refunds")

    async def refunded(self) -> bool | None:
        return True if await self.refunds() else None

    async def fault(self, **fault: Any) -> None:
        async with httpx.AsyncClient(trust_env=False) as http:
            (await http.put(f"{self.shop}/faults", json=fault)).raise_for_status()

    async def begin(self, customer: str, message: str) -> str:
        return await self.at.client.start("support", {"customer": customer, "message": message})

    async def said(self, task: str) -> list[tuple[str, str]]:
        return [(said["who"], said["text"]) for said in await _get(f"{self.chat}/conversations/{task}")]

    async def pipes(self, typed: str) -> tuple[int | None, list[str]]:
        """A customer whose messages come from a pipe; how the chat ended, and what it said."""
        chat = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "examples.support.chat"),
            env=self.at.env,
            cwd=ROOT,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        async with asyncio.timeout(PATIENCE_S):
            said, _ = await chat.communicate(typed.encode())
        return chat.returncode, [line for line in said.decode().splitlines() if "Ctrl" not in line]

    async def hears(self, task: str, text: str, who: str = "assistant") -> None:
        """Returns when the customer was told something like that."""

        async def told() -> bool | None:
            return any(text in said for by, said in await self.said(task) if by == who) or None

        await until(told)


async def _get(url: str) -> list[dict[str, Any]]:
    async with httpx.AsyncClient(trust_env=False) as http:
        return list((await http.get(url)).raise_for_status().json())


@pytest_asyncio.fixture
async def shop(settings: Settings) -> AsyncGenerator[Shop]:
    ports = [free_port(), free_port()]
    env = {"SUPPORT_SHOP_PORT": str(ports[0]), "SUPPORT_CHAT_PORT": str(ports[1])}
    async with running("support", settings, **env) as at:
        urls = [f"http://127.0.0.1:{port}" for port in ports]
        await at.service("shop_service", urls[0])
        await at.service("chat_service", urls[1])
        yield Shop(at, *urls)


async def test_a_long_conversation_goes_on_through_kills_and_a_failing_shop_and_refunds_once(
    shop: Shop,
) -> None:
    """A worker dies after the shop paid, before it could say so; the next while the customer is silent."""
    worker = await shop.at.worker()
    await shop.fault(fail=2, hold_s=60)
    task = await shop.begin("ana@example.com", "My desk lamp arrived broken, I want my money back.")
    await until(shop.refunded)
    worker = await shop.at.replaced(worker)
    await shop.hears(task, "the refund of 89.00 EUR")
    await shop.at.replaced(worker)
    await shop.at.client.signal(task, "message", "and where is 1057?", id="m-2")
    await shop.at.client.signal(task, "message", "and where is 1057?", id="m-2")
    await shop.hears(task, "Order 1057 (Oak bookshelf, Wall fixing set) is being packed")
    await shop.at.client.signal(task, "message", "thanks, that's all")
    result = await shop.at.client.result(task, PATIENCE_S)
    assert result.outcome == "succeeded", result.problem
    refund = "refund 89.00 EUR of order 1042: arrived damaged"
    assert result.result == {"how": "the customer was served", "messages": 3, "done": [refund]}
    assert await shop.refunds() == [{"order_id": "1042", "amount": 89.0, "reason": "arrived damaged"}]
    assert [who for who, _ in await shop.said(task)] == ["customer", "assistant"] * 3


async def test_above_the_limit_a_supervisor_decides_and_messages_wait_their_turn(shop: Shop) -> None:
    """A worker dies while the supervisor thinks; then a person takes over, and gives it back."""
    client, worker = shop.at.client, await shop.at.worker()
    task = await shop.begin("ben@example.com", "The dining table arrived scratched, refund it please")
    question = await shop.at.question(task, "supervisor")
    await client.signal(task, "message", "I want to talk to a human")
    worker = await shop.at.replaced(worker)
    assert await shop.refunds() == []
    await client.answer(task, "approve", question.step)
    question = await shop.at.question(task, "agent")
    assert await shop.refunds() == [{"order_id": "1018", "amount": 780.0, "reason": "arrived damaged"}]
    await client.answer(task, "This is Kim. How can I help?", question.step)
    await shop.hears(task, "This is Kim.", who="person")
    await client.signal(task, "message", "only saying hello")
    question = await shop.at.question(task, "agent")
    assert question.text.endswith("customer: only saying hello")
    await client.answer(task, "back", question.step)
    await client.signal(task, "message", "bye")
    result = await client.result(task, PATIENCE_S)
    assert result.outcome == "succeeded", result.problem
    assert (result.result["how"], len(result.result["done"])) == ("the customer was served", 1)


async def test_what_a_supervisor_refuses_is_not_paid_and_the_customer_is_told_so(shop: Shop) -> None:
    client, _ = shop.at.client, await shop.at.worker()
    task = await shop.begin("ben@example.com", "The dining table arrived scratched, refund it please")
    question = await shop.at.question(task, "supervisor")
    await client.answer(task, "refuse", question.step)
    await shop.hears(task, "my colleague could not agree to the refund of 780.00 EUR for order 1018")
    await client.signal(task, "message", "bye")
    result = await client.result(task, PATIENCE_S)
    assert result.outcome == "succeeded", result.problem
    assert result.result == {"how": "the customer was served", "messages": 2, "done": []}
    assert await shop.refunds() == []


async def test_messages_from_a_pipe_are_answered_also_if_the_worker_comes_later(shop: Shop) -> None:
    """The second is sent before any worker has taken the task up; the last comes when all is over."""
    chat = asyncio.create_task(shop.pipes("where is 1057?\nthanks, that's all\nare you there?\n"))
    await asyncio.sleep(2)
    await shop.at.worker()
    code, (first, *others) = await chat
    assert (code, others) == (
        0,
        [
            "  assistant: You're welcome. Goodbye!",
            "(the conversation is over: the customer was served)",
        ],
    )
    assert first.startswith("  assistant: Order 1057 (Oak bookshelf, Wall fixing set) is being packed")


async def test_a_customer_who_leaves_is_told_where_the_conversation_stands(shop: Shop) -> None:
    await shop.at.worker()
    code, (_, goodbye) = await shop.pipes("where is 1057?\n")
    assert code == 0
    assert goodbye.startswith("(the conversation stays open: segue show ")
