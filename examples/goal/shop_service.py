"""The shop, over HTTP: `python -m examples.goal.shop_service`. What it was asked for, it keeps a ledger of.

    GET  /services
    GET  /services/{name}/health
    GET  /services/{name}/log?start=12:00&end=12:30
    GET  /changes?since=12:00&until=13:00
    POST /changes/{id}/rollback    with an Idempotency-Key: the same key again is the same rollback
    GET  /rollbacks                which were made, by their keys
    GET  /requests                 how many requests were answered, of each kind
    GET  /ready

It forgets when it is stopped: start it anew and the shop is as broken as before.
"""

from collections import Counter
from dataclasses import dataclass, field
from datetime import time

import click
import uvicorn
from pydantic import BaseModel, TypeAdapter, ValidationError
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from .addresses import SHOP_PORT
from .models import Changes
from .shop import Shop

_TIME = TypeAdapter(time)


@dataclass
class Operations:
    shop: Shop = field(default_factory=Shop)
    answered: Counter[str] = field(default_factory=Counter[str])

    async def services(self, _: Request) -> Response:
        return self._answer("services", self.shop.services())

    async def health(self, request: Request) -> Response:
        return self._answer("health", self.shop.health(self._service(request)))

    async def log(self, request: Request) -> Response:
        excerpt = self.shop.log(self._service(request), _time(request, "start"), _time(request, "end"))
        return self._answer("log", excerpt)

    async def changes(self, request: Request) -> Response:
        found = self.shop.changes(_time(request, "since"), _time(request, "until"))
        return self._answer("changes", Changes(changes=found))

    async def roll_back(self, request: Request) -> Response:
        change = self.shop.change(request.path_params["id"])
        key = request.headers.get("Idempotency-Key")
        if change is None:
            raise HTTPException(404, f"no change {request.path_params['id']!r}")
        if not key:
            raise HTTPException(400, "an Idempotency-Key is needed: a rollback must not be made twice")
        try:
            return self._answer("rollback", self.shop.roll_back(change, key))
        except ValueError as error:
            raise HTTPException(409, str(error)) from None

    async def rollbacks(self, _: Request) -> Response:
        return JSONResponse(self.shop.rolled_back)

    async def requests(self, _: Request) -> Response:
        return JSONResponse(self.answered)

    def _answer(self, kind: str, answer: BaseModel) -> Response:
        self.answered[kind] += 1
        return JSONResponse(answer.model_dump(mode="json"))

    def _service(self, request: Request) -> str:
        name = str(request.path_params["name"])
        if name not in self.shop.plan.calls:
            raise HTTPException(404, f"no service {name!r}")
        return name


def application() -> Starlette:
    operations = Operations()
    return Starlette(
        routes=[
            Route("/services", operations.services),
            Route("/services/{name}/health", operations.health),
            Route("/services/{name}/log", operations.log),
            Route("/changes", operations.changes),
            Route("/changes/{id}/rollback", operations.roll_back, methods=["POST"]),
            Route("/rollbacks", operations.rollbacks),
            Route("/requests", operations.requests),
            Route("/ready", _ready),
        ],
        exception_handlers={HTTPException: _problem},
    )


def _time(request: Request, name: str) -> time:
    try:
        return _TIME.validate_python(request.query_params.get(name))
    except ValidationError:
        raise HTTPException(422, f"{name} must be a time of today: 13:05") from None


async def _ready(_: Request) -> Response:
    return JSONResponse({"status": "ok"})


async def _problem(_: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    return JSONResponse({"detail": error.detail}, error.status_code)


@click.command(help="Serve the example's shop.")
@click.option("--host", default="127.0.0.1", show_default=True)
@click.option("--port", default=SHOP_PORT, show_default=True)
def main(host: str, port: int) -> None:
    uvicorn.run(application(), host=host, port=port, log_level="warning")


if __name__ == "__main__":
    main()
