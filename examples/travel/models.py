"""What the workflow, its tools and its models say to each other. All of it travels as JSON."""

from datetime import date
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

Currency = Literal["EUR", "GBP", "USD"]

EUR_PER: dict[Currency, float] = {"EUR": 1.0, "GBP": 1.15, "USD": 0.9}
"""Rounded rates of 2026: enough to read a ceiling in another currency, not to charge by."""


class Value(BaseModel):
    model_config = ConfigDict(frozen=True)


class Stay(Value):
    check_in: date
    check_out: date

    @model_validator(mode="after")
    def _lasts_a_night(self) -> "Stay":
        if self.check_out <= self.check_in:
            raise ValueError("check_out must be after check_in")
        return self

    @property
    def nights(self) -> int:
        return (self.check_out - self.check_in).days

    def __str__(self) -> str:
        return f"{self.check_in:%a %d %b} – {self.check_out:%a %d %b %Y}"


class TripRequest(Value):
    """What a customer asks for, in terms that a search understands. What was not said stays empty."""

    place: str | None = Field(None, description="Town, region or country to stay in or near")
    latitude: float | None = Field(None, description="Of the place; empty for a whole region or country")
    longitude: float | None = None
    near_km: float = Field(default=20.0, description="How far from the place is still acceptable")
    stay: Stay | None = Field(None, description="Dates, all in the future; empty if they were not given")
    guests: int = Field(default=2, ge=1, le=12)
    price_max: float | None = Field(None, description="For one night, in `currency`")
    currency: Currency = "EUR"
    beach: bool = Field(False, description="Whether the hotel must be at a beach")
    wishes: list[str] = Field(
        default=[],
        description="Other wishes in a word or two each: quiet, pool, romantic, family-friendly, …",
    )

    @property
    def missing(self) -> list[str]:
        """What to ask the customer for."""
        asked = ("where you would like to stay", self.place), ("from when to when", self.stay)
        return [what for what, said in asked if said is None]

    @property
    def price_max_eur(self) -> float | None:
        return None if self.price_max is None else round(self.price_max * EUR_PER[self.currency], 2)


class Review(Value):
    author: str
    rating: int = Field(ge=1, le=10)
    text: str


class Hotel(Value):
    """`price` is for a night in EUR as advertised; `beach_m` is the walk to the beach, if there is one."""

    id: str
    name: str
    town: str
    region: str
    country: str
    latitude: float
    longitude: float
    stars: int
    price: float
    beach_m: int | None
    sleeps: int
    open_months: tuple[int, int]
    amenities: list[str]
    reviews: list[Review]
    distance_km: float | None = None

    @property
    def title(self) -> str:
        return f"{self.name}, {self.town} {'★' * self.stars}"


class Hotels(Value):
    hotels: list[Hotel]


class Ranked(Value):
    hotel_id: str
    score: float = Field(ge=0, le=1, description="How well the hotel fits the wishes")
    reason: str = Field(description="One sentence that quotes the review which decided")


class Ranking(Value):
    """The hotels that fit the wishes, the best first; those whose guests say the opposite are left out."""

    ranked: list[Ranked]


class Availability(Value):
    """`nightly` is the average price of a night in EUR; `live` is false for the rates of last night."""

    hotel_id: str
    rooms: int
    nightly: float
    live: bool


class Offer(Value):
    """A hotel with a free room, as the customer sees it. `nightly` is in EUR."""

    hotel_id: str
    hotel: str
    stay: Stay
    guests: int
    nightly: float
    reason: str

    @property
    def total(self) -> float:
        return self.nightly * self.stay.nights

    def __str__(self) -> str:
        return f"{self.hotel}: {self.nightly:.0f} EUR a night, {self.total:.0f} in all. {self.reason}"


class Booking(Value):
    id: int
    reference: str
    hotel_id: str
    hotel: str
    check_in: date
    check_out: date
    guests: int
    total: float
    status: Literal["booked", "cancelled"]


class Transfer(Value):
    """A ride from the station to the hotel on the day of arrival. `total` is in EUR."""

    id: int
    hotel: str
    arrives: date
    guests: int
    total: float
    status: Literal["reserved", "cancelled"]


class Trip(Value):
    booking: Booking
    transfer: Transfer


class NoTrip(Value):
    """Nothing was booked, and why."""

    reason: str
