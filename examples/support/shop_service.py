"""Orders and refunds, over HTTP, in a SQLite database: `python -m examples.support.shop_service`.

    GET  /orders?customer=…
    PUT  /orders/{id}/address    {"address": …}; 409 once the parcel has left
    POST /refunds                {"order_id", "amount", "reason"}, with an Idempotency-Key
    GET  /refunds
    PUT  /faults                 {"fail": 2 | "always", "status": 503, "hold_s": 5}
    GET  /health

The same key and body again is the same refund (200); one of more than was paid is a 409.
"""

import asyncio
import json
import sqlite3
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any, Literal

import click
import uvicorn
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from .addresses import SHOP_PORT
from .database import health, key_of, problem, state_folder, transaction
from .models import Order

SOURCE = Path(__file__).parent / "data" / "orders.json"
"""Its dates are days from the day on which the database was made, so that the orders stay young."""

SCHEMA = """
CREATE TABLE IF NOT EXISTS shop_order (id TEXT PRIMARY KEY, customer TEXT NOT NULL, document TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS refund (
    key TEXT PRIMARY KEY, order_id TEXT NOT NULL REFERENCES shop_order,
    amount REAL NOT NULL, reason TEXT NOT NULL
);
"""


class NewRefund(BaseModel):
    model_config = ConfigDict(extra="forbid")

    order_id: str
    amount: float = Field(gt=0)
    reason: str


class NewAddress(BaseModel):
    model_config = ConfigDict(extra="forbid")

    address: str = Field(min_length=5)


class Fault(BaseModel):
    """`fail` requests get `status`, then it works; the reply to the next refund waits `hold_s`."""

    model_config = ConfigDict(extra="forbid")

    fail: int | Literal["always"] = 0
    status: int = Field(default=503, ge=400, le=599)
    hold_s: float = Field(default=0.0, ge=0)


@dataclass
class Shop:
    path: Path
    fault: Fault = field(default_factory=Fault)

    async def orders(self, request: Request) -> Response:
        self._fail()
        with transaction(self.path) as database:
            rows = database.execute(
                "SELECT id FROM shop_order WHERE customer = ? ORDER BY id",
                (request.query_params.get("customer"),),
            ).fetchall()
            found = [_order(database, row["id"]) for row in rows]
        return JSONResponse([order.model_dump(mode="json") for order in found])

    async def put_address(self, request: Request) -> Response:
        self._fail()
        new = NewAddress.model_validate_json(await request.body())
        with transaction(self.path) as database:
            order = _order(database, request.path_params["order_id"])
            if order.status != "packing":
                raise HTTPException(409, f"order {order.id} has left already")
            _store(database, order.model_copy(update={"address": new.address}))
        return Response(status_code=204)

    async def post_refund(self, request: Request) -> Response:
        self._fail()
        key, new = key_of(request), NewRefund.model_validate_json(await request.body())
        with transaction(self.path) as database:
            status = self._refund(database, key, new)
        hold_s, self.fault.hold_s = self.fault.hold_s, 0.0
        await asyncio.sleep(hold_s)
        return JSONResponse(new.model_dump(), status)

    def _refund(self, database: sqlite3.Connection, key: str, new: NewRefund) -> int:
        known = database.execute(
            "SELECT order_id, amount, reason FROM refund WHERE key = ?", (key,)
        ).fetchone()
        if known is not None:
            if dict(known) != new.model_dump():
                raise HTTPException(422, f"Idempotency-Key {key!r} was used for another refund")
            return 200
        order = _order(database, new.order_id)
        if new.amount > order.left:
            raise HTTPException(409, f"only {order.left:.2f} EUR of order {order.id} are left to refund")
        database.execute(
            "INSERT INTO refund VALUES (?, ?, ?, ?)", (key, new.order_id, new.amount, new.reason)
        )
        return 201

    async def refunds(self, _: Request) -> Response:
        with transaction(self.path) as database:
            rows = database.execute("SELECT order_id, amount, reason FROM refund ORDER BY rowid").fetchall()
        return JSONResponse([dict(row) for row in rows])

    async def put_fault(self, request: Request) -> Response:
        self.fault = Fault.model_validate_json(await request.body())
        return JSONResponse(self.fault.model_dump())

    def _fail(self) -> None:
        failing = self.fault.fail == "always" or self.fault.fail > 0
        if isinstance(self.fault.fail, int):
            self.fault.fail = max(self.fault.fail - 1, 0)
        if failing:
            raise HTTPException(self.fault.status, "as told by /faults")


def _order(database: sqlite3.Connection, order_id: str) -> Order:
    row = database.execute("SELECT document FROM shop_order WHERE id = ?", (order_id,)).fetchone()
    if row is None:
        raise HTTPException(404, f"no order {order_id!r}")
    total = database.execute("SELECT total(amount) FROM refund WHERE order_id = ?", (order_id,)).fetchone()[0]
    return Order.model_validate_json(row["document"]).model_copy(update={"refunded": round(total, 2)})


def _store(database: sqlite3.Connection, order: Order) -> None:
    row = (order.id, order.customer, order.model_dump_json())
    database.execute("INSERT OR REPLACE INTO shop_order VALUES (?, ?, ?)", row)


def application(path: Path, today: date | None = None) -> Starlette:
    today = today or datetime.now(UTC).date()
    with transaction(path) as database:
        for statement in SCHEMA.split(";"):
            database.execute(statement)
        if database.execute("SELECT count(*) FROM shop_order").fetchone()[0] == 0:
            for order in seeds(today):
                _store(database, order)
    shop = Shop(path)
    return Starlette(
        routes=[
            Route("/orders", shop.orders),
            Route("/orders/{order_id}/address", shop.put_address, methods=["PUT"]),
            Route("/refunds", shop.post_refund, methods=["POST"]),
            Route("/refunds", shop.refunds),
            Route("/faults", shop.put_fault, methods=["PUT"]),
            Route("/health", health),
        ],
        exception_handlers={HTTPException: problem, ValidationError: _unprocessable},
    )


def seeds(today: date) -> list[Order]:
    def dated(order: dict[str, Any]) -> dict[str, Any]:
        days = {name: order[name] for name in ("ordered", "delivered", "arrives") if name in order}
        return {**order, **{name: today + timedelta(days=n) for name, n in days.items()}}

    return [Order.model_validate(dated(order)) for order in json.loads(SOURCE.read_text("utf-8"))]


async def _unprocessable(_: Request, error: Exception) -> Response:
    return JSONResponse({"detail": str(error)}, 422)


@click.command(help="Serve the orders and refunds of the example's shop.")
@click.option("--host", default="127.0.0.1", show_default=True)
@click.option("--port", default=SHOP_PORT, show_default=True)
@click.option("--database", type=click.Path(path_type=Path), help="[default: .segue/support/shop.db]")
def main(host: str, port: int, database: Path | None) -> None:
    uvicorn.run(
        application(database or state_folder() / "shop.db"),
        host=host,
        port=port,
        log_level="warning",
        timeout_graceful_shutdown=1,
    )


if __name__ == "__main__":
    main()
