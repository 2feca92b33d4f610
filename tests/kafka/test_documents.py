"""The example `documents`, whole: a mail server that fails, and workers killed around the send."""

from collections.abc import AsyncGenerator
from dataclasses import dataclass
from typing import Any

import httpx
import pytest_asyncio

from segue.streams.settings import Settings
from segue.topics.records import CallTool
from tests.kafka.conftest import free_port
from tests.kafka.running import PATIENCE_S, Running, running, until

REQUEST = "tell dana@example.com what the move to Harbour Street means for her team"


@dataclass
class Office:
    at: Running
    url: str

    async def mails(self) -> list[dict[str, Any]]:
        async with httpx.AsyncClient(base_url=self.url, trust_env=False) as http:
            return list((await http.get("/mails")).json())

    async def fault(self, **fault: Any) -> None:
        async with httpx.AsyncClient(base_url=self.url, trust_env=False) as http:
            (await http.put("/faults", json=fault)).raise_for_status()

    async def mailed(self) -> bool | None:
        return True if await self.mails() else None


@pytest_asyncio.fixture
async def office(settings: Settings) -> AsyncGenerator[Office]:
    smtp, http = free_port(), free_port()
    ports = {"DOCUMENTS_SMTP_PORT": str(smtp), "DOCUMENTS_MAILS_PORT": str(http)}
    async with running("documents", settings, **ports) as at:
        there = Office(at, f"http://127.0.0.1:{http}")
        await at.service("mail_service", there.url)
        yield there


async def test_a_note_loops_back_and_one_mail_is_sent_through_kills_and_a_failing_server(
    office: Office,
) -> None:
    """A worker dies while the author reads, and one after the server took the mail, before it said so."""
    client, worker = office.at.client, await office.at.worker()
    task = await client.start("tell", REQUEST)
    first = await office.at.question(task, "author")
    worker = await office.at.replaced(worker)
    await client.answer(task, "too formal; sign it as Kim", first.step)
    second = await until(lambda: asked_after(office, task, first.step))
    assert await office.mails() == []
    await office.fault(fail=2, hold_s=30)
    await client.answer(task, "send", second.step)
    await until(office.mailed)
    await office.at.replaced(worker)
    result = await client.result(task, PATIENCE_S)
    assert result.outcome == "succeeded", result.problem
    [mail] = await office.mails()
    assert (mail["to"], mail["message-id"], mail["copies"]) == (
        "dana@example.com",
        result.result["message_id"],
        2,  # it was handed over again, and dropped
    )
    assert mail["body"].startswith("Hi Dana,")
    assert "Kim" in mail["body"]
    assert "1 February 2027" in mail["body"]


async def test_a_draft_that_the_author_discards_is_not_sent(office: Office) -> None:
    await office.at.worker()
    task = await office.at.client.start("tell", REQUEST)
    question = await office.at.question(task, "author")
    await office.at.client.answer(task, "discard", question.step)
    result = await office.at.client.result(task, PATIENCE_S)
    assert result.outcome == "succeeded", result.problem
    assert result.result == {"reason": "The author discarded the draft."}
    assert await office.mails() == []
    assert await attempts(office, task, "send") == 0


async def test_a_mail_that_the_server_refuses_for_good_ends_the_task_with_its_words(office: Office) -> None:
    await office.at.worker()
    task = await office.at.client.start("tell", REQUEST)
    question = await office.at.question(task, "author")
    await office.fault(fail="always", code=550)
    await office.at.client.answer(task, "send", question.step)
    result = await office.at.client.result(task, PATIENCE_S)
    assert result.problem is not None
    assert (result.outcome, "the mail server says 550" in result.problem.message) == ("failed", True)
    assert await office.mails() == []
    assert await attempts(office, task, "send") == 1


async def attempts(office: Office, task: str, route: str) -> int:
    called = [r.value or b"" for r in await office.at.client.history(task) if r.topic == "tool-calls"]
    return sum(CallTool.model_validate_json(call).route == route for call in called)


async def asked_after(office: Office, task: str, step: int) -> Any:
    question = await office.at.question(task, "author")
    return question if question.step > step else None
