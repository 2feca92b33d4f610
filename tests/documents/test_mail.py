"""The mail server and the tool that sends: one mail for each Message-ID, however often it comes."""

import asyncio
from collections.abc import AsyncGenerator
from datetime import UTC, datetime
from email import message_from_bytes
from email.policy import default
from pathlib import Path
from typing import Any

import httpx
import pytest
import uvicorn

from examples.documents import mail_service, tools
from examples.documents.models import Sent
from segue import Permanent, Retryable
from segue.processors.stages.attempt import CURRENT, Attempt
from tests.kafka.conftest import free_port

AT = datetime(2026, 11, 25, 9, 30, tzinfo=UTC)


@pytest.fixture
async def mails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncGenerator[httpx.AsyncClient]:
    port = free_port()
    monkeypatch.setattr(tools, "SMTP_PORT", port)
    application = mail_service.application(tmp_path / "outbox", "127.0.0.1", port)
    server = uvicorn.Server(uvicorn.Config(application, port=0, log_level="warning"))
    serving = asyncio.create_task(server.serve())
    while not server.started:  # noqa: ASYNC110 - uvicorn has no event for it
        await asyncio.sleep(0.01)
    http = server.servers[0].sockets[0].getsockname()[1]
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{http}", trust_env=False) as client:
        yield client
    server.should_exit = True
    await serving


async def sent(key: str = "t/6", **changes: Any) -> Sent:
    CURRENT.set(Attempt(task="t", step=6, attempt=1, idempotency_key=key))
    mail: dict[str, Any] = {"to": "dana@example.com", "subject": "Move", "body": "Hi,\n\nDana\n", "at": AT}
    return await tools.send(**{**mail, **changes})


async def test_each_attempt_of_a_step_is_one_mail(mails: httpx.AsyncClient) -> None:
    first, second, other = await sent(), await sent(), await sent("t/9")
    assert first == second != other
    listed = (await mails.get("/mails")).json()
    assert [(mail["message-id"], mail["copies"]) for mail in listed] == [
        (first.message_id, 2),
        (other.message_id, 1),
    ]
    assert {name: listed[0][name] for name in ("from", "to", "subject", "body")} == {
        "from": "Tidewater Instruments <office@tidewater.example>",
        "to": "dana@example.com",
        "subject": "Move",
        "body": "Hi,\n\nDana\n",
    }


async def test_the_kept_file_is_the_mail(mails: httpx.AsyncClient, tmp_path: Path) -> None:
    await sent(subject="Grüße\r\nBcc: all@example.com", body="Straße 1\n")
    [path] = (tmp_path / "outbox").glob("*.eml")
    message = message_from_bytes(path.read_bytes(), policy=default)
    assert (message["Subject"], message["Bcc"]) == ("Grüße Bcc: all@example.com", None)
    assert message["Date"] == "Wed, 25 Nov 2026 09:30:00 +0000"


async def test_a_refusal_says_whether_to_try_again(mails: httpx.AsyncClient) -> None:
    for code, kind in ((451, Retryable), (550, Permanent)):
        await mails.put("/faults", json={"fail": 1, "code": code})
        with pytest.raises(kind, match=f"the mail server says {code}"):
            await sent()
    await sent()
    assert len((await mails.get("/mails")).json()) == 1


async def test_a_server_that_is_not_there_may_come_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tools, "SMTP_PORT", free_port())
    with pytest.raises(Retryable, match="does not answer"):
        await sent()


async def test_a_fault_that_makes_no_sense_is_refused(mails: httpx.AsyncClient) -> None:
    assert (await mails.put("/faults", json={"fail": "sometimes"})).status_code == 422
