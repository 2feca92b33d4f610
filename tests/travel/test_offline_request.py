"""The offline model reads what people write. `TODAY` is a Monday."""

from datetime import date
from typing import Any

import pytest

from examples.travel.models import Stay, TripRequest
from examples.travel.offline.request import interpret

TODAY = date(2026, 11, 23)


def read(text: str) -> TripRequest:
    return interpret(text, TODAY)


def stay(check_in: str, check_out: str) -> Stay:
    return Stay(check_in=date.fromisoformat(check_in), check_out=date.fromisoformat(check_out))


def trip(**fields: Any) -> dict[str, Any]:
    """What must be understood, and nothing else; coordinates are the gazetteer's."""
    nothing: dict[str, Any] = {
        "guests": 2,
        "price_max": None,
        "currency": "EUR",
        "beach": False,
        "wishes": [],
    }
    return {**nothing, **fields}


def test_the_reference_request_is_understood_whole() -> None:
    text = "find me a quiet beach hotel near Lisbon for the first week of October, under 200 a night"
    assert read(text) == TripRequest(
        place="Lisbon",
        latitude=38.7136,
        longitude=-9.1395,
        near_km=50,
        stay=stay("2027-10-01", "2027-10-08"),
        price_max=200,
        beach=True,
        wishes=["quiet"],
    )


@pytest.mark.parametrize(
    ("text", "understood"),
    [
        (
            "romantic place by the sea near Porto, 2 nights from 14 May, max 120 euro",
            trip(
                place="Porto",
                stay=stay("2027-05-14", "2027-05-16"),
                price_max=120,
                beach=True,
                wishes=["romantic"],
            ),
        ),
        (
            "Family hotel with pool in the Algarve, 3 to 10 August, 2 adults and 2 kids, up to €180/night",
            trip(
                place="Algarve",
                stay=stay("2027-08-03", "2027-08-10"),
                guests=4,
                price_max=180,
                wishes=["pool", "family-friendly"],
            ),
        ),
        (
            "we need a dog friendly hotel in Brighton 12-15 Aug 2027, max £150",
            trip(
                place="Brighton",
                stay=stay("2027-08-12", "2027-08-15"),
                price_max=150,
                currency="GBP",
                wishes=["pet-friendly"],
            ),
        ),
        (
            "I'm flying from London to Lisbon, need a hotel 10-12 January, central, no more than 110 a night",
            trip(place="Lisbon", stay=stay("2027-01-10", "2027-01-12"), price_max=110, wishes=["central"]),
        ),
        (
            "beach holiday in Split with three kids from 1 August for ten days",
            trip(
                place="Split",
                stay=stay("2027-08-01", "2027-08-11"),
                guests=5,
                beach=True,
                wishes=["family-friendly"],
            ),
        ),
        (
            "go surfing in Sagres from 3rd to the 10th of september with 2 mates, max 70 euros pp",
            trip(
                place="Sagres",
                stay=stay("2027-09-03", "2027-09-10"),
                guests=3,
                price_max=210,
                wishes=["surfing"],
            ),
        ),
        (
            "Portugal, seaside, 7 nights mid september, under 1.400 euro in total",
            trip(place="Portugal", stay=stay("2027-09-12", "2027-09-19"), price_max=200, beach=True),
        ),
        (
            "A hotel for my wife and I in Positano; check in 5 May, check out 9 May; under $400",
            trip(place="Positano", stay=stay("2027-05-05", "2027-05-09"), price_max=400, currency="USD"),
        ),
        (
            "quiet hotel without a pool near Valencia for a week from 12 June",
            trip(place="Valencia", stay=stay("2027-06-12", "2027-06-19"), wishes=["quiet"]),
        ),
        (
            "tonight in Madrid, just me",
            trip(place="Madrid", stay=stay("2026-11-23", "2026-11-24"), guests=1),
        ),
    ],
)
def test_requests_are_understood(text: str, understood: dict[str, Any]) -> None:
    assert read(text).model_dump(exclude={"latitude", "longitude", "near_km"}) == (
        understood | {"stay": understood["stay"].model_dump()}
    )


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("from 28 April to 3 May", stay("2027-04-28", "2027-05-03")),
        ("May 3-10", stay("2027-05-03", "2027-05-10")),
        ("June 1st to June 5th", stay("2027-06-01", "2027-06-05")),
        ("12-15 Aug 2027", stay("2027-08-12", "2027-08-15")),
        ("2027-07-01 to 2027-07-08", stay("2027-07-01", "2027-07-08")),
        ("3.5.-10.5.2027", stay("2027-05-03", "2027-05-10")),
        ("5/10/2027-12/10/2027", stay("2027-10-05", "2027-10-12")),
        ("26 Dec - 2 Jan", stay("2026-12-26", "2027-01-02")),
        ("14th of July until 18th of July", stay("2027-07-14", "2027-07-18")),
        ("Sat 5 June to Sat 12 June", stay("2027-06-05", "2027-06-12")),
        ("arriving 10 April and leaving on 14 April", stay("2027-04-10", "2027-04-14")),
        ("next Friday to Sunday", stay("2026-11-27", "2026-11-29")),
        ("this weekend", stay("2026-11-27", "2026-11-29")),
        ("next weekend", stay("2026-12-04", "2026-12-06")),
        ("weekend of 12 June", stay("2027-06-11", "2027-06-13")),
        ("the second weekend of July", stay("2027-07-09", "2027-07-11")),
        ("a long weekend in September", stay("2027-09-03", "2027-09-06")),
        ("first two weeks of June", stay("2027-06-01", "2027-06-15")),
        ("last week of September", stay("2027-09-24", "2027-10-01")),
        ("for 5 nights from 12 march", stay("2027-03-12", "2027-03-17")),
        ("from the 3rd of may for 2 weeks", stay("2027-05-03", "2027-05-17")),
        ("two nights from tomorrow", stay("2026-11-24", "2026-11-26")),
        ("in 2 weeks for 3 nights", stay("2026-12-07", "2026-12-10")),
        ("next week for 4 nights", stay("2026-11-30", "2026-12-04")),
        ("in Ocotber for a week", stay("2027-10-01", "2027-10-08")),
        ("over Christmas", stay("2026-12-24", "2026-12-27")),
        ("over New Year", stay("2026-12-30", "2027-01-02")),
        ("at Easter", stay("2027-03-26", "2027-03-29")),
        ("31 June", None),
        ("12 to 15 Aug 2020", None),
        ("some time", None),
    ],
)
def test_dates_count_from_today(words: str, expected: Stay | None) -> None:
    assert read(f"a hotel in Lagos {words}").stay == expected


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("under 200 a night", (200, "EUR")),
        ("between 80 and 120 euros a night", (120, "EUR")),
        ("100-140 euro a night", (140, "EUR")),
        ("less than 160/night", (160, "EUR")),
        ("our limit is 220€/night", (220, "EUR")),
        ("€300 max per night", (300, "EUR")),
        ("85 pounds a night", (85, "GBP")),
        ("under two hundred", (200, "EUR")),
        ("around 100", (110, "EUR")),
        ("in total under 1,400 euro", (200, "EUR")),
        ("up to 4 people", (None, "EUR")),
        ("within 30 km", (None, "EUR")),
    ],
)
def test_prices_are_for_a_night(words: str, expected: tuple[float | None, str]) -> None:
    understood = read(f"a hotel in Lagos from 3 to 10 May, {words}")
    price = understood.price_max
    assert (None if price is None else round(price), understood.currency) == expected


@pytest.mark.parametrize(
    ("words", "place"),
    [
        ("a nice hotel in Porto", "Porto"),
        ("hotel in nice", "Nice"),
        ("near the beach in Barcalona", "Barcelona"),
        ("Lisboa", "Lisbon"),
        ("something in Sóller", "Port de Sóller"),
        ("I live in Porto and want to see Gerês", "Gerês"),
        ("not far from Faro", "Faro"),
        ("greece", "Greece"),
        ("Tokyo hotel", "Tokyo"),
        ("somewhere by the sea", None),
        ("a hotel with a pool", None),
    ],
)
def test_places_are_known_by_their_other_names_and_misspelt(words: str, place: str | None) -> None:
    assert read(f"{words}, 3-5 May").place == place


def test_near_a_city_reaches_further_than_in_it() -> None:
    assert [
        read(f"hotel {where}").near_km for where in ("in Porto", "near Porto", "within 5 km of Porto")
    ] == [
        15,
        50,
        5,
    ]


def test_what_is_missing_is_said() -> None:
    assert read("somewhere quiet").missing == ["where you would like to stay", "from when to when"]
