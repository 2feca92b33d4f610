"""From a sentence to a booking: this is all there is to the workflow.

Each `await` is a step that survives a crash of anything. Nothing is booked before the customer picks, and the
transfer and the room are booked both or not at all.
"""

from datetime import timedelta
from itertools import islice
from math import inf

from segue import StepError, Task, workflow

from .checks import in_the_future, only_hotels_found
from .models import Availability, Hotels, NoTrip, Offer, Ranking, Stay, Trip, TripRequest
from .routes import availability, hotel_search, interpret, rank
from .tools import book, reserve_transfer

OFFERS = 3
PATIENCE = timedelta(days=2)
QUESTIONS_MAX = 3


@workflow
async def book_trip(task: Task, request: str) -> Trip | NoTrip:
    trip = await understand(task, request)
    if trip.place is None or trip.stay is None:
        return NoTrip(reason=f"I still don't know {' and '.join(trip.missing)}.")
    found = await search(task, trip, trip.stay)
    if not found.hotels:
        return NoTrip(reason=f"No hotel near {trip.place} fits these dates and this price.")
    ranking = await task.model(
        rank,
        {"wishes": trip.wishes, "hotels": found.hotels},
        output=Ranking,
        check=only_hotels_found(found=[hotel.id for hotel in found.hotels]),
    )
    offers = await available(task, trip, trip.stay, found, ranking)
    if not offers:
        return NoTrip(
            reason=f"Of {len(found.hotels)} hotels near {trip.place} none both fits and has a room."
        )
    return await let_pick(task, offers)


async def understand(task: Task, request: str) -> TripRequest:
    """Ask the customer for what the request leaves open."""
    today, answers = task.now().date(), list[str]()
    while True:
        asked = {"today": today, "request": request, "answers": answers}
        trip = await task.model(interpret, asked, output=TripRequest, check=in_the_future(today=today))
        if not trip.missing or len(answers) == QUESTIONS_MAX:
            return trip
        question = f"Please tell me {' and '.join(trip.missing)}."
        answer = await task.ask("customer", question, timeout=PATIENCE, default="")
        if not answer:
            return trip
        answers.append(answer)


async def search(task: Task, trip: TripRequest, stay: Stay) -> Hotels:
    criteria = trip.model_dump(include={"place", "latitude", "longitude", "near_km", "beach", "guests"})
    return await task.tool(hotel_search, **criteria, **stay.model_dump(), price_max=trip.price_max_eur)


async def available(
    task: Task, trip: TripRequest, stay: Stay, found: Hotels, ranking: Ranking
) -> list[Offer]:
    """The best hotels with a room. One that is full or does not answer makes way for the next best."""
    hotels = {hotel.id: hotel.title for hotel in found.hotels}
    candidates = iter(ranking.ranked)
    when = {**stay.model_dump(), "guests": trip.guests}
    offers: list[Offer] = []
    while asked := list(islice(candidates, OFFERS - len(offers))):
        checks = (task.tool(availability, hotel_id=hotel.hotel_id, **when) for hotel in asked)
        answers = await task.gather(*checks, failures="return")
        for hotel, free in zip(asked, answers, strict=True):
            if isinstance(free, Availability) and free.rooms and free.nightly <= (trip.price_max_eur or inf):
                about = {"hotel_id": hotel.hotel_id, "hotel": hotels[hotel.hotel_id], "reason": hotel.reason}
                offers.append(Offer(**about, stay=stay, guests=trip.guests, nightly=free.nightly))
    return offers


async def let_pick(task: Task, offers: list[Offer]) -> Trip | NoTrip:
    """Book what the customer picks. When that fails it is undone, and the other offers still stand."""
    while offers:
        options = {str(offer): offer for offer in offers} | {"None of these": None}
        question = f"Which hotel may I book for {offers[0].stay}?"
        pick = await task.ask("customer", question, options=options, timeout=PATIENCE, default=None)
        if pick is None:
            return NoTrip(reason="The customer took none of the offers.")
        try:
            async with task.saga():
                transfer = await task.tool(reserve_transfer, pick)
                booking = await task.tool(book, pick)
            return Trip(booking=booking, transfer=transfer)
        except StepError:
            offers = [offer for offer in offers if offer != pick]
    return NoTrip(reason="Every offer was gone in the meantime.")
