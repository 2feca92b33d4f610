"""The tools that call services. What a failure means, HTTP says: nothing needs to be caught here."""

from datetime import date
from http import HTTPStatus

import httpx

from segue import Permanent, current_attempt, tool

from . import hotels
from .addresses import AVAILABILITY_URL, BOOKING_URL, RATES_URL, TRANSFER_URL
from .models import Availability, Booking, Hotels, Offer, Transfer

TIMEOUT_S = 60.0
"""Longer than any policy here: the policy's own time-out is the one that counts."""


@tool
async def search_catalogue(
    place: str,
    check_in: date,
    check_out: date,
    latitude: float | None = None,
    longitude: float | None = None,
    near_km: float = 20.0,
    beach: bool = False,
    price_max: float | None = None,
    guests: int = 2,
) -> Hotels:
    """The spare of the search server: the same catalogue, read in this process."""
    found = hotels.search(place, check_in, check_out, latitude, longitude, near_km, beach, price_max, guests)
    return Hotels(hotels=found)


@tool
async def check_availability(hotel_id: str, check_in: date, check_out: date, guests: int) -> Availability:
    """Rooms and the price of a night now, from the hotel's own system."""
    return await _availability(
        f"{AVAILABILITY_URL}/hotels/{hotel_id}/availability", check_in, check_out, guests
    )


@tool
async def last_known_rates(hotel_id: str, check_in: date, check_out: date, guests: int) -> Availability:
    """The same as of last night, for hotels whose system does not answer; some are missing there."""
    return await _availability(f"{RATES_URL}/rates/{hotel_id}", check_in, check_out, guests)


@tool(timeout_s=10, retries=5)
async def cancel_transfer(transfer: Transfer) -> None:
    async with httpx.AsyncClient(base_url=TRANSFER_URL, timeout=TIMEOUT_S) as client:
        response = await client.delete(f"/transfers/{transfer.id}")
    response.raise_for_status()


@tool(timeout_s=10, retries=5, undo=cancel_transfer)
async def reserve_transfer(offer: Offer) -> Transfer:
    """Have the guests fetched from the station, at a service that knows nothing of the booking."""
    attempt = current_attempt()
    body = {
        "reference": attempt.task,
        "hotel": offer.hotel,
        "arrives": offer.stay.check_in.isoformat(),
        "guests": offer.guests,
    }
    async with httpx.AsyncClient(base_url=TRANSFER_URL, timeout=TIMEOUT_S) as client:
        headers = {"Idempotency-Key": attempt.idempotency_key}
        response = await client.post("/transfers", json=body, headers=headers)
    return Transfer.model_validate_json(response.raise_for_status().content)


@tool(timeout_s=10, retries=5)
async def withdraw() -> None:
    """Cancel whatever this task has booked: the last attempt may have booked without a chance to say so."""
    async with httpx.AsyncClient(base_url=BOOKING_URL, timeout=TIMEOUT_S) as client:
        response = await client.delete("/bookings", params={"reference": current_attempt().task})
    response.raise_for_status()


@tool(timeout_s=10, retries=5, undo=withdraw)
async def book(offer: Offer) -> Booking:
    """Book a room. The service knows the step by its key: an attempt that is repeated does not book twice."""
    attempt = current_attempt()
    body = {
        "reference": attempt.task,
        "hotel_id": offer.hotel_id,
        "hotel": offer.hotel,
        "check_in": offer.stay.check_in.isoformat(),
        "check_out": offer.stay.check_out.isoformat(),
        "guests": offer.guests,
        "total": offer.total,
    }
    async with httpx.AsyncClient(base_url=BOOKING_URL, timeout=TIMEOUT_S) as client:
        headers = {"Idempotency-Key": attempt.idempotency_key}
        response = await client.post("/bookings", json=body, headers=headers)
    if response.status_code == HTTPStatus.CONFLICT:  # elsewhere a 409 passes; here the last room is gone
        raise Permanent(response.json()["detail"])
    return Booking.model_validate_json(response.raise_for_status().content)


async def _availability(url: str, check_in: date, check_out: date, guests: int) -> Availability:
    stay: dict[str, str | int] = {
        "check_in": check_in.isoformat(),
        "check_out": check_out.isoformat(),
        "guests": guests,
    }
    async with httpx.AsyncClient(timeout=TIMEOUT_S) as client:
        response = await client.get(url, params=stay)
    return Availability.model_validate_json(response.raise_for_status().content)
