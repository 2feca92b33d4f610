"""The workflow in memory, without Kafka, services or a model: `pytest examples/travel`."""

from collections.abc import Callable
from datetime import date, timedelta

from segue import Permanent
from segue.testing import Rehearsal, crash_everywhere, in_turn

from .app import app
from .models import (
    Availability,
    Booking,
    Hotel,
    Hotels,
    NoTrip,
    Offer,
    Ranked,
    Ranking,
    Stay,
    Transfer,
    Trip,
    TripRequest,
)

STAY = Stay(check_in=date(2026, 10, 1), check_out=date(2026, 10, 3))
REQUEST = TripRequest(place="Faro", latitude=None, beach=False, stay=STAY, price_max=200)
NAMES = ("Sol", "Mar", "Ria", "Cais")


def hotel(name: str) -> Hotel:
    return Hotel(
        id=name.lower(),
        name=name,
        town="Faro",
        region="Algarve",
        country="Portugal",
        latitude=37.0,
        longitude=-7.9,
        stars=3,
        price=100,
        beach_m=None,
        sleeps=4,
        open_months=(1, 12),
        amenities=[],
        reviews=[],
    )


def rooms(full: str = "") -> Callable[..., Availability]:
    def answer(hotel_id: str, **_: object) -> Availability:
        return Availability(hotel_id=hotel_id, rooms=0 if hotel_id == full else 2, nightly=90, live=True)

    return answer


def booking(offer: Offer) -> Booking:
    return Booking(
        id=1,
        reference="t",
        hotel_id=offer.hotel_id,
        hotel=offer.hotel,
        check_in=offer.stay.check_in,
        check_out=offer.stay.check_out,
        guests=offer.guests,
        total=offer.total,
        status="booked",
    )


TRANSFER = Transfer(id=7, hotel="Mar", arrives=STAY.check_in, guests=2, total=30, status="reserved")
MODELS = {
    "interpret": REQUEST,
    "rank": Ranking(ranked=[Ranked(hotel_id=name.lower(), score=0.9, reason="quiet") for name in NAMES]),
}
TOOLS = {
    "hotel_search": Hotels(hotels=[hotel(name) for name in NAMES]),
    "availability": rooms(),
    "book": booking,
    "reserve_transfer": TRANSFER,
    "cancel_transfer": None,
    "withdraw": None,
}


def asked(play: Rehearsal) -> list[str]:
    """The hotels that the customer is asked to pick from."""
    return [option.label.partition(",")[0] for option in play.question().options]


def test_it_books_what_was_picked() -> None:
    with Rehearsal(app, models=MODELS, tools=TOOLS) as play:
        play.start("book_trip", "a quiet hotel in Faro", id="t")
        assert asked(play) == ["Sol", "Mar", "Ria", "None of these"]
        play.answer(2)
        trip = play.result()
        assert isinstance(trip, Trip)
        assert trip.booking.hotel_id == "mar"
        assert [call.given["offer"]["hotel_id"] for call in play.calls("book")] == ["mar"]
        play.replay_elsewhere()


def test_a_hotel_without_a_room_makes_way_for_the_next_best() -> None:
    with Rehearsal(app, models=MODELS, tools=TOOLS | {"availability": rooms(full="mar")}) as play:
        play.start("book_trip", "a quiet hotel in Faro")
        assert asked(play) == ["Sol", "Ria", "Cais", "None of these"]


def test_what_failed_is_undone_and_the_other_offers_still_stand() -> None:
    gone_then_booked = in_turn(Permanent("the last room is gone"), booking)
    with Rehearsal(app, models=MODELS, tools=TOOLS | {"book": gone_then_booked}) as play:
        play.start("book_trip", "a quiet hotel in Faro")
        play.answer(1)
        assert asked(play) == ["Mar", "Ria", "None of these"]
        assert len(play.calls("cancel_transfer")) == 1
        play.answer(1)
        assert play.result().booking.hotel_id == "mar"


def test_a_customer_who_does_not_pick_in_two_days_gets_a_clear_result() -> None:
    with Rehearsal(app, models=MODELS, tools=TOOLS) as play:
        play.start("book_trip", "a quiet hotel in Faro")
        play.run()
        play.advance(timedelta(days=2))
        assert play.result() == NoTrip(reason="The customer took none of the offers.")
        assert play.calls("book") == []


def test_a_service_that_fails_twice_books_once() -> None:
    with Rehearsal(
        app, models=MODELS, tools=TOOLS | {"book": in_turn(OSError(), OSError(), booking)}
    ) as play:
        play.start("book_trip", "a quiet hotel in Faro")
        play.answer(1)
        assert play.result().booking.hotel_id == "sol"
        assert len({call.idempotency_key for call in play.calls("book")}) == 1


def picked(play: Rehearsal) -> None:
    play.start("book_trip", "a quiet hotel in Faro", id="t")
    play.answer(3)
    assert play.result().booking.hotel_id == "ria"


def test_it_books_the_same_wherever_a_worker_dies() -> None:
    crash_everywhere(picked, app, models=MODELS, tools=TOOLS)
