"""The tool that sends. What a refusal means, SMTP says: from 500 on it is for good, below it may pass."""

import asyncio
import smtplib
from datetime import datetime
from email.message import EmailMessage
from email.utils import format_datetime
from hashlib import sha256

from segue import Permanent, Retryable, current_attempt, tool

from .addresses import SENDER, SMTP_HOST, SMTP_PORT
from .models import Sent

TIMEOUT_S = 15.0
"""Of each exchange with the server."""


@tool(timeout_s=60, retries=8)
async def send(to: str, subject: str, body: str, at: datetime) -> Sent:
    """Hand a mail to the mail server. Each attempt hands over the same bytes, under the same Message-ID.

    SMTP has no idempotency key: an attempt whose worker died after the server had taken the mail is made
    again. By the Message-ID a server, or a mail store, that drops second copies recognises this one.
    """
    message = EmailMessage()
    message["From"], message["To"], message["Subject"] = SENDER, to, " ".join(subject.split())
    message["Date"] = format_datetime(at)
    message["Message-ID"] = message_id(current_attempt().idempotency_key)
    message.set_content(body)
    await asyncio.to_thread(_hand_over, message, to)
    return Sent(to=to, subject=message["Subject"], message_id=message["Message-ID"])


def message_id(key: str) -> str:
    """The same for each attempt of a step. A hash, since a task's id may have any characters."""
    return f"<{sha256(key.encode()).hexdigest()[:32]}@{SENDER.rpartition('@')[2].rstrip('>')}>"


def _hand_over(message: EmailMessage, to: str) -> None:
    try:
        with smtplib.SMTP(SMTP_HOST, SMTP_PORT, timeout=TIMEOUT_S) as server:
            server.send_message(message)
    except smtplib.SMTPRecipientsRefused as refused:
        raise _refusal(*refused.recipients[to]) from None
    except smtplib.SMTPResponseException as refused:
        raise _refusal(refused.smtp_code, refused.smtp_error) from None
    except OSError as error:
        raise Retryable(f"the mail server at {SMTP_HOST}:{SMTP_PORT} does not answer: {error}") from None


def _refusal(code: int, said: bytes | str) -> Permanent | Retryable:
    text = said.decode(errors="replace") if isinstance(said, bytes) else said
    return (Permanent if code >= 500 else Retryable)(f"the mail server says {code} {text}")
