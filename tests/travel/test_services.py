"""The services of the example: the same question, the same answer; a fault when it is set; a booking once."""

import time
from typing import Any

import httpx
import pytest

from examples.travel import tools
from examples.travel.models import Booking, Offer
from segue import Permanent
from segue.processors.stages.attempt import CURRENT, Attempt

HOTEL = "ericeira-das-figueiras"
STAY: dict[str, str | int] = {"check_in": "2027-10-01", "check_out": "2027-10-04", "guests": 2}


def booking(**changes: Any) -> dict[str, Any]:
    return {"reference": "t", "hotel_id": HOTEL, "hotel": "Casa", "total": 300.0, **STAY, **changes}


def key(value: str) -> dict[str, str]:
    return {"Idempotency-Key": value}


async def test_the_same_question_has_the_same_answer(availability: httpx.AsyncClient) -> None:
    first, second = [await availability.get(f"/hotels/{HOTEL}/availability", params=STAY) for _ in range(2)]
    assert first.status_code == 200
    assert first.json() == second.json()
    assert first.json()["live"] is True


async def test_a_fault_fails_as_often_as_it_says(availability: httpx.AsyncClient) -> None:
    await availability.put(f"/faults/{HOTEL}", json={"fail": 2, "status": 503, "retry_after": 1.5})
    answers = [await availability.get(f"/hotels/{HOTEL}/availability", params=STAY) for _ in range(3)]
    assert [(a.status_code, a.headers.get("retry-after")) for a in answers] == [
        (503, "1.5"),
        (503, "1.5"),
        (200, None),
    ]


async def test_a_fault_that_lasts_ends_when_it_is_deleted(availability: httpx.AsyncClient) -> None:
    await availability.put(f"/faults/{HOTEL}", json={"fail": "always"})
    failing = [
        (await availability.get(f"/hotels/{HOTEL}/availability", params=STAY)).status_code for _ in range(3)
    ]
    await availability.delete(f"/faults/{HOTEL}")
    after = await availability.get(f"/hotels/{HOTEL}/availability", params=STAY)
    assert (failing, after.status_code) == ([503, 503, 503], 200)


async def test_a_slow_hotel_is_slow_once(availability: httpx.AsyncClient) -> None:
    await availability.put(f"/faults/{HOTEL}", json={"delay_s": 0.3})
    took: list[float] = []
    for _ in range(2):
        start = time.monotonic()
        await availability.get(f"/hotels/{HOTEL}/availability", params=STAY)
        took.append(time.monotonic() - start)
    assert took[0] >= 0.3 > took[1]


@pytest.mark.parametrize(
    ("path", "params", "status"),
    [
        ("/hotels/nowhere/availability", STAY, 404),
        (f"/hotels/{HOTEL}/availability", {"check_in": "soon"}, 422),
        (f"/hotels/{HOTEL}/availability", {**STAY, "check_out": "2027-09-30"}, 422),
        ("/health", {}, 200),
    ],
)
async def test_what_makes_no_sense_is_refused(
    availability: httpx.AsyncClient, path: str, params: dict[str, Any], status: int
) -> None:
    assert (await availability.get(path, params=params)).status_code == status


async def test_the_same_key_books_once(bookings: httpx.AsyncClient) -> None:
    answers = [await bookings.post("/bookings", json=booking(), headers=key("t/9")) for _ in range(2)]
    assert [a.status_code for a in answers] == [201, 200]
    assert answers[0].json() == answers[1].json()
    assert (await bookings.get("/bookings")).json() == [answers[0].json()]


async def test_the_same_key_for_something_else_is_refused(bookings: httpx.AsyncClient) -> None:
    await bookings.post("/bookings", json=booking(), headers=key("t/9"))
    other = await bookings.post("/bookings", json=booking(guests=3), headers=key("t/9"))
    assert other.status_code == 422


async def test_a_booking_without_a_key_is_refused(bookings: httpx.AsyncClient) -> None:
    assert (await bookings.post("/bookings", json=booking())).status_code == 400


async def test_the_last_room_is_sold_once_and_again_after_a_cancellation(bookings: httpx.AsyncClient) -> None:
    first = await bookings.post("/bookings", json=booking(), headers=key("a/1"))
    gone = await bookings.post("/bookings", json=booking(reference="b"), headers=key("b/1"))
    for _ in range(2):
        assert (await bookings.delete("/bookings", params={"reference": "t"})).status_code == 204
    again = await bookings.post("/bookings", json=booking(reference="b"), headers=key("b/2"))
    assert [r.status_code for r in (first, gone, again)] == [201, 409, 201]
    listed = (await bookings.get("/bookings")).json()
    assert [(b["reference"], b["status"]) for b in listed] == [("t", "cancelled"), ("b", "booked")]


async def test_the_tools_book_once_and_say_when_the_last_room_is_gone(
    bookings: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tools, "BOOKING_URL", str(bookings.base_url))
    stay = {"check_in": "2027-10-01", "check_out": "2027-10-04"}
    offer = Offer.model_validate(
        {"hotel_id": HOTEL, "hotel": "Casa", "stay": stay, "guests": 2, "nightly": 100, "reason": "calm"}
    )
    CURRENT.set(Attempt(task="t", step=9, attempt=1, idempotency_key="t/9"))
    first, second = await tools.book(offer), await tools.book(offer)
    CURRENT.set(Attempt(task="u", step=9, attempt=1, idempotency_key="u/9"))
    with pytest.raises(Permanent, match="no room left"):
        await tools.book(offer)
    assert (first, first.total) == (second, 300.0)
    CURRENT.set(Attempt(task="t", step=10, attempt=1, idempotency_key="t/10"))
    await tools.withdraw()
    listed = [Booking.model_validate(b) for b in (await bookings.get("/bookings")).json()]
    assert listed == [first.model_copy(update={"status": "cancelled"})]


def transfer(**changes: Any) -> dict[str, Any]:
    return {"reference": "t", "hotel": "Casa", "arrives": "2027-10-01", "guests": 5, **changes}


async def test_the_same_key_orders_one_transfer_which_can_be_cancelled_twice(
    transfers: httpx.AsyncClient,
) -> None:
    answers = [await transfers.post("/transfers", json=transfer(), headers=key("t/8")) for _ in range(2)]
    assert [a.status_code for a in answers] == [201, 200]
    ordered = answers[0].json()
    assert (ordered["total"], ordered["status"]) == (70.0, "reserved")
    for _ in range(2):
        assert (await transfers.delete(f"/transfers/{ordered['id']}")).status_code == 204
    listed = (await transfers.get("/transfers", params={"reference": "t"})).json()
    assert listed == [{**ordered, "status": "cancelled"}]


async def test_a_transfer_that_makes_no_sense_is_refused(transfers: httpx.AsyncClient) -> None:
    assert (await transfers.post("/transfers", json=transfer())).status_code == 400
    nobody = await transfers.post("/transfers", json=transfer(guests=0), headers=key("t/8"))
    assert nobody.status_code == 422
    assert (await transfers.delete("/transfers/7")).status_code == 404


async def test_the_tools_reserve_a_transfer_once_and_cancel_it(
    transfers: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tools, "TRANSFER_URL", str(transfers.base_url))
    stay = {"check_in": "2027-10-01", "check_out": "2027-10-04"}
    offer = Offer.model_validate(
        {"hotel_id": HOTEL, "hotel": "Casa", "stay": stay, "guests": 2, "nightly": 100, "reason": "calm"}
    )
    CURRENT.set(Attempt(task="t", step=8, attempt=1, idempotency_key="t/8"))
    first, second = await tools.reserve_transfer(offer), await tools.reserve_transfer(offer)
    assert first == second
    await tools.cancel_transfer(first)
    [listed] = (await transfers.get("/transfers")).json()
    assert listed["status"] == "cancelled"
