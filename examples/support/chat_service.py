"""What customers see of their conversations, over HTTP: `python -m examples.support.chat_service`.

    POST /conversations/{id}             {"who", "text"}, with an Idempotency-Key
    GET  /conversations/{id}[?after=N]   what was said, after message N
    GET  /health

A conversation has its task's id. The same key again is shown once.
"""

from dataclasses import dataclass
from pathlib import Path

import click
import uvicorn
from pydantic import BaseModel, ConfigDict, ValidationError
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from .addresses import CHAT_PORT
from .database import health, key_of, problem, state_folder, transaction

SCHEMA = """
CREATE TABLE IF NOT EXISTS message (
    id INTEGER PRIMARY KEY, key TEXT NOT NULL UNIQUE,
    conversation TEXT NOT NULL, who TEXT NOT NULL, text TEXT NOT NULL
)
"""


class NewMessage(BaseModel):
    model_config = ConfigDict(extra="forbid")

    who: str
    text: str


@dataclass
class Chat:
    path: Path

    async def post(self, request: Request) -> Response:
        try:
            new = NewMessage.model_validate_json(await request.body())
        except ValidationError as error:
            raise HTTPException(422, str(error)) from None
        row = (key_of(request), request.path_params["id"], new.who, new.text)
        with transaction(self.path) as database:
            database.execute(
                "INSERT OR IGNORE INTO message (key, conversation, who, text) VALUES (?, ?, ?, ?)", row
            )
        return Response(status_code=204)

    async def get(self, request: Request) -> Response:
        after = request.query_params.get("after", "0")
        if not after.isdecimal():
            raise HTTPException(422, "after is a message's id")
        with transaction(self.path) as database:
            rows = database.execute(
                "SELECT id, who, text FROM message WHERE conversation = ? AND id > ? ORDER BY id",
                (request.path_params["id"], int(after)),
            ).fetchall()
        return JSONResponse([dict(row) for row in rows])


def application(path: Path) -> Starlette:
    with transaction(path) as database:
        database.execute(SCHEMA)
    chat = Chat(path)
    return Starlette(
        routes=[
            Route("/conversations/{id:path}", chat.post, methods=["POST"]),
            Route("/conversations/{id:path}", chat.get),
            Route("/health", health),
        ],
        exception_handlers={HTTPException: problem},
    )


@click.command(help="Show customers their conversations.")
@click.option("--host", default="127.0.0.1", show_default=True)
@click.option("--port", default=CHAT_PORT, show_default=True)
@click.option("--database", type=click.Path(path_type=Path), help="[default: .segue/support/chat.db]")
def main(host: str, port: int, database: Path | None) -> None:
    uvicorn.run(
        application(database or state_folder() / "chat.db"),
        host=host,
        port=port,
        log_level="warning",
        timeout_graceful_shutdown=1,
    )


if __name__ == "__main__":
    main()
