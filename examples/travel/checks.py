"""What a model's answer must be, beyond its type. A refusal goes back to the model with its message."""

from datetime import date

from segue import OutputRejected, check

from .models import Ranking, TripRequest


@check
def in_the_future(trip: TripRequest, today: date) -> None:
    if trip.stay and trip.stay.check_in < today:
        raise OutputRejected(f"check_in {trip.stay.check_in} has passed: today is {today}.")


@check
def only_hotels_found(ranking: Ranking, found: list[str]) -> None:
    ranked = [hotel.hotel_id for hotel in ranking.ranked]
    if unknown := sorted(set(ranked) - set(found)):
        raise OutputRejected(
            f"These hotels were not among those found: {', '.join(unknown)}. Use the ids given."
        )
    if len(set(ranked)) < len(ranked):
        raise OutputRejected("A hotel is ranked twice.")
