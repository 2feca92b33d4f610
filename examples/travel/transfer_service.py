"""Fetches guests from the station, with a database of its own: `python -m examples.travel.transfer_service`.

    POST   /transfers    with an Idempotency-Key: the same key again is the same transfer (200)
    GET    /transfers[?reference=…]
    DELETE /transfers/ID    cancels it; doing it twice is no error
    GET    /health

It knows nothing of the booking service: no transaction spans the two.
"""

import sqlite3
from contextlib import closing
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

import click
import uvicorn
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from .addresses import TRANSFER_PORT
from .hotels import state_folder

SEATS = 4
FARE = 35.0
"""EUR, for a car of so many seats."""

SCHEMA = """
CREATE TABLE IF NOT EXISTS transfer (
    id INTEGER PRIMARY KEY,
    key TEXT NOT NULL UNIQUE,
    reference TEXT NOT NULL,
    hotel TEXT NOT NULL, arrives TEXT NOT NULL, guests INTEGER NOT NULL, total REAL NOT NULL,
    status TEXT NOT NULL DEFAULT 'reserved' CHECK (status IN ('reserved', 'cancelled'))
)
"""
INSERT = """
INSERT INTO transfer (key, reference, hotel, arrives, guests, total)
VALUES (:key, :reference, :hotel, :arrives, :guests, :total) ON CONFLICT (key) DO NOTHING
"""
FIELDS = "id, reference, hotel, arrives, guests, total, status"


class NewTransfer(BaseModel):
    model_config = ConfigDict(extra="forbid")

    reference: str = Field(min_length=1)
    hotel: str
    arrives: date
    guests: int = Field(ge=1)


@dataclass
class Transfers:
    path: Path

    async def post(self, request: Request) -> Response:
        key = request.headers.get("idempotency-key")
        if not key:
            raise HTTPException(400, "send an Idempotency-Key header, so that a repeated request orders once")
        try:
            new = NewTransfer.model_validate_json(await request.body())
        except ValidationError as error:
            raise HTTPException(422, str(error)) from None
        total = FARE * -(-new.guests // SEATS)
        made = self._do(INSERT, new.model_dump(mode="json") | {"key": key, "total": total})
        [transfer] = self._rows("key = ?", key)
        return JSONResponse(transfer, 201 if made else 200)

    async def get(self, request: Request) -> Response:
        return JSONResponse(self._rows("?1 IS NULL OR reference = ?1", request.query_params.get("reference")))

    async def delete(self, request: Request) -> Response:
        which = {"id": request.path_params["id"]}
        if not self._do("UPDATE transfer SET status = 'cancelled' WHERE id = :id", which):
            raise HTTPException(404, f"no transfer {which['id']}")
        return Response(status_code=204)

    def _do(self, statement: str, values: dict[str, Any]) -> int:
        """How many rows it changed."""
        with closing(sqlite3.connect(self.path)) as database, database:
            return database.execute(statement, values).rowcount

    def _rows(self, where: str, value: str | None) -> list[dict[str, Any]]:
        with closing(sqlite3.connect(self.path)) as database:
            database.row_factory = sqlite3.Row
            found = database.execute(f"SELECT {FIELDS} FROM transfer WHERE {where} ORDER BY id", (value,))
            return [dict(row) for row in found]


def application(path: Path) -> Starlette:
    with closing(sqlite3.connect(path)) as database:
        database.execute("PRAGMA journal_mode = WAL")
        database.execute(SCHEMA)
    service = Transfers(path)
    return Starlette(
        routes=[
            Route("/transfers", service.post, methods=["POST"]),
            Route("/transfers", service.get),
            Route("/transfers/{id:int}", service.delete, methods=["DELETE"]),
            Route("/health", _health),
        ],
        exception_handlers={HTTPException: _problem},
    )


async def _health(_: Request) -> Response:
    return JSONResponse({"status": "ok"})


async def _problem(_: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    return JSONResponse({"detail": error.detail}, error.status_code)


@click.command(help="Serve transfers to the example's hotels.")
@click.option("--host", default="127.0.0.1", show_default=True)
@click.option("--port", default=TRANSFER_PORT, show_default=True)
@click.option("--database", type=click.Path(path_type=Path), help="[default: .segue/travel/transfers.db]")
def main(host: str, port: int, database: Path | None) -> None:
    uvicorn.run(
        application(database or state_folder() / "transfers.db"), host=host, port=port, log_level="warning"
    )


if __name__ == "__main__":
    main()
