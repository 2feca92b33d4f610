"""The offline model judges hotels by what their guests wrote."""

import pytest

from examples.travel.hotels import every_hotel
from examples.travel.models import Hotel, Review
from examples.travel.offline.ranking import rank
from examples.travel.offline.reviews import opinions


def review(text: str, rating: int = 8) -> Review:
    return Review(author="Ana", rating=rating, text=text)


def hotel(id: str, *texts: str, price: float = 100.0, amenities: tuple[str, ...] = ()) -> Hotel:  # noqa: A002
    first = every_hotel()[0]
    changes = {"id": id, "price": price, "amenities": list(amenities), "reviews": [*map(review, texts)]}
    return first.model_copy(update=changes)


def quiet(text: str) -> float:
    return sum(opinion.value for opinion in opinions([review(text)], "quiet"))


@pytest.mark.parametrize(
    "text",
    [
        "Very quiet.",
        "Couldn't hear a thing but the sea.",
        "No noise at all.",
        "It is anything but noisy, even on a Saturday.",
        "Expected street noise, but there was none.",
        "We were worried about the bar next door; in fact we never heard it.",
        "No bars, no scooters, no music: bliss.",
        "He had not slept so soundly in years.",
        "The loudest thing was the cicadas.",
        "Neither bells nor bars nor barking dogs.",
        "We could not believe how quiet it was.",
        "I never once needed my earplugs.",
    ],
)
def test_praise_of_quiet_is_recognised_in_any_wording(text: str) -> None:
    assert quiet(text) > 0


@pytest.mark.parametrize(
    "text",
    [
        "Noisy.",
        "Not quiet at all.",
        "Quiet it is not.",
        "There is a bar below until 3 am.",
        "The church bells ring every quarter of an hour.",
        "We hardly slept because of the music from the club.",
        "If you look for peace and quiet, go somewhere else.",
        "Could have been a peaceful spot without the beach club's loudspeakers.",
        "A quiet room was promised.",
        "It was far from peaceful.",
        "Nothing about this street is peaceful.",
        "Not the silent retreat that we had hoped for.",
        "No peace before the last bus at one o'clock.",
    ],
)
def test_noise_is_recognised_in_any_wording(text: str) -> None:
    assert quiet(text) < 0


@pytest.mark.parametrize("text", ["The breakfast was good.", "Our room was on the third floor."])
def test_other_matters_say_nothing_of_quiet(text: str) -> None:
    assert opinions([review(text)], "quiet") == []


def test_a_quiet_hotel_comes_before_one_of_which_nothing_is_known_and_a_noisy_one_is_left_out() -> None:
    hotels = [
        hotel("noisy", "Quiet it is not.", "Great food."),
        hotel("unknown", "Great food."),
        hotel("quiet", "Great food. Couldn't hear a thing but the sea."),
    ]
    ranking = rank(hotels, ["quiet"])
    assert [ranked.hotel_id for ranked in ranking.ranked] == ["quiet", "unknown"]
    assert ranking.ranked[0].reason == "quiet: “Couldn't hear a thing but the sea.” – Ana"


def test_voices_against_are_counted_in_the_reason() -> None:
    said = ("So peaceful.", "Calm and restful.", "A bit noisy.")
    assert rank([hotel("h", *said)], ["quiet"]).ranked[0].reason == (
        "quiet: “So peaceful.” – Ana (though 1 of 3 disagree)"
    )


def test_what_can_not_be_done_without_must_be_there() -> None:
    hotels = [hotel("dry", "Lovely."), hotel("wet", "Lovely.", amenities=("pool",))]
    assert [ranked.hotel_id for ranked in rank(hotels, ["pool"]).ranked] == ["wet"]


def test_cheap_prefers_the_lower_price() -> None:
    hotels = [hotel("dear", "Fine.", price=180), hotel("cheap", "Fine.", price=60)]
    assert rank(hotels, ["cheap"]).ranked[0].hotel_id == "cheap"


def test_a_wish_in_other_words_is_the_same_wish() -> None:
    hotels = [hotel("noisy", "Very noisy."), hotel("quiet", "Very calm.")]
    assert rank(hotels, ["a peaceful night"]) == rank(hotels, ["quiet"]).model_copy()


def test_without_hotels_there_is_nothing_to_rank() -> None:
    assert rank([], ["quiet"]).ranked == []
