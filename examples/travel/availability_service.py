"""Which rooms are free, over HTTP: `python -m examples.travel.availability_service --port 8471`.

    GET    /hotels/{id}/availability?check_in=…&check_out=…&guests=…    live: may be slow or fail
    GET    /rates/{id}?check_in=…&check_out=…&guests=…                  as of last night: some are missing
    PUT    /faults/{id}    {"fail": 2 | "always", "status": 503, "retry_after": 1, "delay_s": 0, "delays": 1}
    DELETE /faults/{id}
    GET    /faults
    GET    /health

Rooms and prices follow from `--seed`, the hotel and the date, so that the same question has the same answer.
"""

import asyncio
import hashlib
from dataclasses import dataclass, field
from datetime import date, timedelta
from statistics import mean
from typing import Literal

import click
import uvicorn
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from .addresses import AVAILABILITY_PORT
from .hotels import every_hotel
from .models import Availability, Hotel, Stay

SEED = 70
WEEKEND = (4, 5)
"""The nights of Friday and Saturday."""

HIGH_SEASON = range(6, 9)


class Fault(BaseModel):
    """`fail` requests are answered with `status`, then it works; `delays` requests wait `delay_s` first."""

    model_config = ConfigDict(extra="forbid")

    fail: int | Literal["always"] = 0
    status: int = Field(default=503, ge=400, le=599)
    retry_after: float | None = None
    delay_s: float = Field(default=0.0, ge=0)
    delays: int = 1

    def take_failure(self) -> bool:
        if self.fail == "always":
            return True
        failing = self.fail > 0
        self.fail = max(self.fail - 1, 0)
        return failing

    def take_delay(self) -> float:
        self.delays, delayed = max(self.delays - 1, 0), self.delays > 0
        return self.delay_s if delayed else 0.0


@dataclass
class Availabilities:
    hotels: dict[str, Hotel]
    seed: int = SEED
    faults: dict[str, Fault] = field(default_factory=dict[str, Fault])

    async def live(self, request: Request) -> Response:
        hotel, stay = self._hotel(request), _stay(request)
        fault = self.faults.get(hotel.id, Fault())
        await asyncio.sleep(fault.take_delay())
        if fault.take_failure():
            after = {} if fault.retry_after is None else {"Retry-After": f"{fault.retry_after:g}"}
            raise HTTPException(fault.status, f"the booking system of {hotel.id} does not answer", after)
        return self._answer(hotel, stay, live=True)

    async def rates(self, request: Request) -> Response:
        hotel, stay = self._hotel(request), _stay(request)
        if self._draw(hotel.id, "rates") < 0.3:
            raise HTTPException(404, f"no rates of {hotel.id} from last night")
        return self._answer(hotel, stay, live=False)

    async def put_fault(self, request: Request) -> Response:
        hotel = self._hotel(request)
        try:
            self.faults[hotel.id] = Fault.model_validate_json(await request.body())
        except ValidationError as error:
            raise HTTPException(422, str(error)) from None
        return JSONResponse(self.faults[hotel.id].model_dump())

    async def delete_fault(self, request: Request) -> Response:
        self.faults.pop(request.path_params["hotel_id"], None)
        return Response(status_code=204)

    async def list_faults(self, _: Request) -> Response:
        return JSONResponse({hotel: fault.model_dump() for hotel, fault in self.faults.items()})

    def _hotel(self, request: Request) -> Hotel:
        hotel = self.hotels.get(request.path_params["hotel_id"])
        if hotel is None:
            raise HTTPException(404, f"no hotel {request.path_params['hotel_id']!r}")
        return hotel

    def _answer(self, hotel: Hotel, stay: Stay, *, live: bool) -> Response:
        nights = [stay.check_in + timedelta(days=n) for n in range(stay.nights)]
        free = Availability(
            hotel_id=hotel.id,
            rooms=min(self._rooms(hotel, night) for night in nights),
            nightly=round(mean(self._price(hotel, night) for night in nights)),
            live=live,
        )
        return JSONResponse(free.model_dump())

    def _rooms(self, hotel: Hotel, night: date) -> int:
        """One to six; every seventh week the hotel is full."""
        full = self._draw(hotel.id, f"{night:%G-%V}") < 1 / 7
        return 0 if full else 1 + int(6 * self._draw(hotel.id, night.isoformat()))

    def _price(self, hotel: Hotel, night: date) -> float:
        busy = 1.15 if night.month in HIGH_SEASON else 0.97
        return hotel.price * busy * (1.08 if night.weekday() in WEEKEND else 1.0)

    def _draw(self, *about: str) -> float:
        """A number in [0, 1) that depends on nothing but the seed and what it is about."""
        digest = hashlib.sha256("|".join([str(self.seed), *about]).encode()).digest()
        return int.from_bytes(digest[:6], "big") / 2**48


def application(seed: int = SEED, faults: dict[str, Fault] | None = None) -> Starlette:
    service = Availabilities({hotel.id: hotel for hotel in every_hotel()}, seed, faults or {})
    return Starlette(
        routes=[
            Route("/hotels/{hotel_id}/availability", service.live),
            Route("/rates/{hotel_id}", service.rates),
            Route("/faults", service.list_faults),
            Route("/faults/{hotel_id}", service.put_fault, methods=["PUT"]),
            Route("/faults/{hotel_id}", service.delete_fault, methods=["DELETE"]),
            Route("/health", _health),
        ],
        exception_handlers={HTTPException: _problem},
    )


def _stay(request: Request) -> Stay:
    try:
        return Stay.model_validate(dict(request.query_params))
    except ValidationError as error:
        raise HTTPException(422, str(error)) from None


async def _health(_: Request) -> Response:
    return JSONResponse({"status": "ok"})


async def _problem(_: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    return JSONResponse({"detail": error.detail}, error.status_code, headers=error.headers)


@click.command(help="Serve the availability of the example's hotels.")
@click.option("--host", default="127.0.0.1", show_default=True)
@click.option("--port", default=AVAILABILITY_PORT, show_default=True)
@click.option("--seed", default=SEED, show_default=True, help="Another seed, other free rooms.")
@click.option("--fail", multiple=True, metavar="HOTEL", help="Answer 503 for this hotel, always.")
@click.option(
    "--slow", multiple=True, metavar="HOTEL", help="Take 30 s for the first request for this hotel."
)
def main(host: str, port: int, seed: int, fail: tuple[str, ...], slow: tuple[str, ...]) -> None:
    faults = {hotel: Fault(fail="always", retry_after=1) for hotel in fail}
    faults |= {hotel: Fault(delay_s=30) for hotel in slow}
    # A slow answer may be under way when this is stopped: nobody waits for it any more.
    uvicorn.run(
        application(seed, faults), host=host, port=port, log_level="warning", timeout_graceful_shutdown=1
    )


if __name__ == "__main__":
    main()
