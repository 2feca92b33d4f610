"""A mail server that delivers into a folder, a file each: `python -m examples.documents.mail_service`.

    SMTP   port 8481    a second copy of a Message-ID is taken, and dropped
    GET    /mails       what is in the folder: a list of message, from, to, subject, body and copies
    PUT    /faults      {"fail": 2 | "always", "code": 451, "hold_s": 5}
    GET    /health

The `.eml` files can be opened with any mail program.
"""

import asyncio
import email
import os
import re
import tempfile
from collections import Counter
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from email.policy import default
from pathlib import Path
from typing import Any, Literal, cast

import click
import uvicorn
from aiosmtpd.smtp import SMTP, Envelope, Session
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from .addresses import MAILS_PORT, SMTP_PORT


class Fault(BaseModel):
    """`fail` mails are refused with `code`, then it works; the reply to the next one kept waits `hold_s`."""

    model_config = ConfigDict(extra="forbid")

    fail: int | Literal["always"] = 0
    code: int = Field(default=451, ge=400, le=599)
    hold_s: float = Field(default=0.0, ge=0)

    def take_failure(self) -> bool:
        if self.fail == "always":
            return True
        failing = self.fail > 0
        self.fail = max(self.fail - 1, 0)
        return failing

    def take_hold(self) -> float:
        self.hold_s, hold_s = 0.0, self.hold_s
        return hold_s


@dataclass
class Outbox:
    """Mails as files named by their Message-ID, so that there can't be two of one."""

    folder: Path
    fault: Fault = field(default_factory=Fault)
    copies: Counter[str] = field(default_factory=Counter[str])
    """How often each mail came since the start: second copies included."""

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:  # noqa: N802 - aiosmtpd's
        if self.fault.take_failure():
            return f"{self.fault.code} as told by /faults"
        content = cast("bytes", envelope.content)
        message_id = str(email.message_from_bytes(content, policy=default)["Message-ID"] or "").strip("<> ")
        if not message_id:
            return "550 send a Message-ID, so that a second copy can be recognised"
        new = self._keep(re.sub(r"[^\w.@-]", "_", message_id) + ".eml", content)
        await asyncio.sleep(self.fault.take_hold())
        return "250 kept" if new else "250 kept already: this copy is dropped"

    def _keep(self, name: str, content: bytes) -> bool:
        """Whether it is new. The file appears whole or not at all, and is on disk before the reply."""
        self.copies[name] += 1
        with tempfile.NamedTemporaryFile(dir=self.folder) as draft:
            draft.write(content)
            draft.flush()
            os.fsync(draft.fileno())
            try:
                (self.folder / name).hardlink_to(draft.name)
            except FileExistsError:
                return False
        return True

    async def get(self, _: Request) -> Response:
        files = sorted(self.folder.glob("*.eml"), key=lambda path: path.stat().st_mtime_ns)
        return JSONResponse([self._shown(path) for path in files])

    def _shown(self, path: Path) -> dict[str, Any]:
        message = email.message_from_bytes(path.read_bytes(), policy=default)
        body = message.get_body(("plain",))
        return {
            **{name: str(message[name]) for name in ("message-id", "from", "to", "subject")},
            "body": body.get_content().replace("\r\n", "\n") if body else "",
            "copies": self.copies[path.name],
        }

    async def put_fault(self, request: Request) -> Response:
        try:
            self.fault = Fault.model_validate_json(await request.body())
        except ValidationError as error:
            return JSONResponse({"detail": str(error)}, 422)
        return JSONResponse(self.fault.model_dump())


def application(folder: Path, host: str, smtp_port: int) -> Starlette:
    folder.mkdir(parents=True, exist_ok=True)
    outbox = Outbox(folder)

    @asynccontextmanager
    async def serve_smtp(_: Starlette) -> AsyncGenerator[None]:
        listening = await asyncio.get_running_loop().create_server(
            lambda: SMTP(outbox, hostname="localhost"), host, smtp_port
        )
        async with listening:
            yield

    return Starlette(
        routes=[
            Route("/mails", outbox.get),
            Route("/faults", outbox.put_fault, methods=["PUT"]),
            Route("/health", _health),
        ],
        lifespan=serve_smtp,
    )


async def _health(_: Request) -> Response:
    return JSONResponse({"status": "ok"})


@click.command(help="Take mails by SMTP, and keep them in a folder.")
@click.option("--host", default="127.0.0.1", show_default=True)
@click.option("--smtp-port", default=SMTP_PORT, show_default=True)
@click.option("--port", default=MAILS_PORT, show_default=True, help="For HTTP.")
@click.option("--folder", type=click.Path(path_type=Path), help="[default: .segue/documents/outbox]")
def main(host: str, smtp_port: int, port: int, folder: Path | None) -> None:
    folder = folder or Path(os.environ.get("SEGUE_STATE_DIR", ".segue")) / "documents" / "outbox"
    uvicorn.run(
        application(folder, host, smtp_port),
        host=host,
        port=port,
        log_level="warning",
        timeout_graceful_shutdown=1,
    )


if __name__ == "__main__":
    main()
