"""Books rooms, over HTTP, in a SQLite database of its own: `python -m examples.travel.booking_service`.

    POST   /bookings    with an Idempotency-Key: the same key and body again is the same booking (200)
    GET    /bookings[?reference=…]
    DELETE /bookings?reference=…    cancels what was booked under that reference; doing it twice is no error
    GET    /health

A hotel has few rooms to sell here, so the last one can be gone: that is a 409.
"""

import sqlite3
from collections.abc import Generator
from contextlib import closing, contextmanager
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

from .addresses import BOOKING_PORT
from .hotels import state_folder

ROOMS = 6
"""That each hotel sells through this service."""

SCHEMA = """
CREATE TABLE IF NOT EXISTS booking (
    id INTEGER PRIMARY KEY,
    key TEXT NOT NULL UNIQUE,
    body TEXT NOT NULL,
    reference TEXT NOT NULL,
    hotel_id TEXT NOT NULL, hotel TEXT NOT NULL,
    check_in TEXT NOT NULL, check_out TEXT NOT NULL, guests INTEGER NOT NULL, total REAL NOT NULL,
    status TEXT NOT NULL DEFAULT 'booked' CHECK (status IN ('booked', 'cancelled'))
)
"""
FIELDS = "id, reference, hotel_id, hotel, check_in, check_out, guests, total, status"
TAKEN = """
SELECT count(*) FROM booking
WHERE hotel_id = :hotel_id AND status = 'booked' AND check_in < :check_out AND :check_in < check_out
"""


class NewBooking(BaseModel):
    model_config = ConfigDict(extra="forbid")

    reference: str = Field(min_length=1)
    hotel_id: str
    hotel: str
    check_in: date
    check_out: date
    guests: int = Field(ge=1)
    total: float = Field(ge=0)


@dataclass
class Bookings:
    path: Path
    rooms: int = ROOMS

    async def post(self, request: Request) -> Response:
        key = request.headers.get("idempotency-key")
        if not key:
            raise HTTPException(400, "send an Idempotency-Key header, so that a repeated request books once")
        try:
            new = NewBooking.model_validate_json(await request.body())
        except ValidationError as error:
            raise HTTPException(422, str(error)) from None
        with self._transaction() as database:
            return self._book(database, key, new)

    def _book(self, database: sqlite3.Connection, key: str, new: NewBooking) -> Response:
        known = database.execute("SELECT body FROM booking WHERE key = ?", (key,)).fetchone()
        if known is not None:
            if known["body"] != new.model_dump_json():
                raise HTTPException(422, f"Idempotency-Key {key!r} was used for another booking")
            return JSONResponse(_booking(database, key), 200)
        values = {**new.model_dump(mode="json"), "key": key, "body": new.model_dump_json()}
        if database.execute(TAKEN, values).fetchone()[0] >= self.rooms:
            raise HTTPException(409, f"{new.hotel} has no room left from {new.check_in} to {new.check_out}")
        columns = ", ".join(values)
        database.execute(
            f"INSERT INTO booking ({columns}) VALUES ({', '.join(f':{v}' for v in values)})", values
        )
        return JSONResponse(_booking(database, key), 201)

    async def get(self, request: Request) -> Response:
        reference = request.query_params.get("reference")
        with self._transaction() as database:
            rows = database.execute(
                f"SELECT {FIELDS} FROM booking WHERE ?1 IS NULL OR reference = ?1 ORDER BY id", (reference,)
            ).fetchall()
        return JSONResponse([dict(row) for row in rows])

    async def delete(self, request: Request) -> Response:
        reference = request.query_params.get("reference")
        if not reference:
            raise HTTPException(400, "say which: ?reference=…")
        with self._transaction() as database:
            database.execute("UPDATE booking SET status = 'cancelled' WHERE reference = ?", (reference,))
        return Response(status_code=204)

    @contextmanager
    def _transaction(self) -> Generator[sqlite3.Connection]:
        """One writer at a time: looking for a room and taking it can't be interleaved."""
        with closing(sqlite3.connect(self.path, isolation_level=None)) as database:
            database.row_factory = sqlite3.Row
            database.execute("BEGIN IMMEDIATE")
            try:
                yield database
            except BaseException:
                database.execute("ROLLBACK")
                raise
            database.execute("COMMIT")


def application(path: Path, rooms: int = ROOMS) -> Starlette:
    with closing(sqlite3.connect(path)) as database:
        database.execute("PRAGMA journal_mode = WAL")
        database.execute(SCHEMA)
    service = Bookings(path, rooms)
    return Starlette(
        routes=[
            Route("/bookings", service.post, methods=["POST"]),
            Route("/bookings", service.get),
            Route("/bookings", service.delete, methods=["DELETE"]),
            Route("/health", _health),
        ],
        exception_handlers={HTTPException: _problem},
    )


def _booking(database: sqlite3.Connection, key: str) -> dict[str, Any]:
    return dict(database.execute(f"SELECT {FIELDS} FROM booking WHERE key = ?", (key,)).fetchone())


async def _health(_: Request) -> Response:
    return JSONResponse({"status": "ok"})


async def _problem(_: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    return JSONResponse({"detail": error.detail}, error.status_code)


@click.command(help="Serve bookings of the example's hotels.")
@click.option("--host", default="127.0.0.1", show_default=True)
@click.option("--port", default=BOOKING_PORT, show_default=True)
@click.option("--database", type=click.Path(path_type=Path), help="[default: .segue/travel/bookings.db]")
@click.option("--rooms", default=ROOMS, show_default=True, help="That each hotel has to sell.")
def main(host: str, port: int, database: Path | None, rooms: int) -> None:
    uvicorn.run(
        application(database or state_folder() / "bookings.db", rooms),
        host=host,
        port=port,
        log_level="warning",
    )


if __name__ == "__main__":
    main()
