"""From what a customer writes to a `TripRequest`: price, dates, people, place, wishes, in that order."""

import re
from datetime import date
from typing import Literal

from ..models import Currency, TripRequest
from .dates import find_stay
from .phrase import Phrase, plain
from .places import Place, find_place

Scope = Literal["night", "stay", "person"]
"""What a price is for: the room for a night, for the whole stay, or each person for a night."""

BEACH_KM = 40.0
"""A city may have no beach: who wants both goes this far."""

WISHES: dict[str, str] = {
    "quiet": (
        r"quiet\w*|calm|peace(?:ful)?|tranquil\w*|silen(?:t|ce)|serene|noise-?free|no noise|"
        r"not (?:too )?(?:noisy|loud)|away from (?:the )?(?:noise|crowds?|bustle)|restful|"
        r"relax\w*|secluded|sleep well|light sleepers?|good night'?s sleep|get some sleep|"
        r"unwind"
    ),
    "pool": r"(?:swimming )?pools?",
    "romantic": (
        r"romantic|romance|honeymoon|anniversary|couples?(?:'s)? (?:getaway|retreat)|"
        r"valentine\w*|propos(?:e|al)"
    ),
    "family-friendly": r"famil(?:y|ies)|kids?|child(?:ren)?|bab(?:y|ies)|toddlers?|son|daughter",
    "pet-friendly": r"dogs?|pets?|cats?|puppy|pet-friendly",
    "cheap": (
        r"cheap\w*|budget(?! ?(?:of|is|:|[€$£]|\d))|inexpensive|affordable|good value|"
        r"low[- ]cost|bargain|not (?:too )?expensive"
    ),
    "central": r"central\w*|city cent(?:re|er)|old town|walking distance|downtown|in the cent(?:re|er)",
    "luxury": r"luxur\w+|5[- ]stars?|upscale|posh|high[- ]end|fancy|splurge",
    "spa": r"spa|sauna|wellness|massages?",
    "view": r"views?|overlooking",
    "good food": (
        r"(?:good|great|nice|tasty|delicious) (?:food|breakfast|dinner|restaurant|kitchen)|"
        r"foodies?|gourmet|breakfast|vegetarian|vegan"
    ),
    "clean": r"clean|spotless|tidy",
    "friendly staff": r"friendly (?:staff|people|hosts?|owners?)|welcoming|good service",
    "hiking": r"hik(?:e|es|ing)|long walks|go walking|trekking|trails?",
    "surfing": r"surf(?:ing|ers?)?",
    "parking": r"parking|by car|garage",
    "nightlife": r"nightlife|party|parties|partying|lively|clubbing|bars",
    "step-free": r"wheelchairs?|step-free|accessible|disabled|mobility",
}
"""Each wish by the words that people use for it."""

_NOT = (
    r"(?:\b(?:no|not|without|don't (?:need|want|care about)|do not (?:need|want)|"
    r"never mind|avoid|nothing|except|isn't|rather than)\b(?: (?:a|an|any|too|the|"
    r"too much|interested in))? )"
)
_BEACH = (
    r"beach\w*|seaside|sea ?front|by the (?:sea|ocean)|on the (?:coast|sea|shore)|"
    r"at the (?:sea|shore)|near the (?:sea|ocean)|ocean ?front|shore\w*|coastal|sandy|"
    r"water ?front"
)
_NUMBER = r"(\d{1,3}(?:[.,' ]\d{3})+|\d+(?:[.,]\d{1,2})?)(?![\d.,]*\d)"
_SIGN = r"(€|\$|£|eur(?:os?)?|usd|gbp|(?:us )?dollars?|pounds?|bucks|quid)"
_NIGHTLY = r" ?(?:a|per|/|each|every|pro|p\.?)[ /]?(?:night|nt|n\.?\b|day)|(?: a)? nightly|(?:/night)"
_MOST = (
    r"(?:under|below|less than|cheaper than|max(?:imum|\.)?(?: of)?|up to|at most|(?:not|"
    r"no) more than|not over|not above|within|budget(?: is| of|:)?|limit(?: of|:)?|<=?|"
    r"for|costing|ceiling(?: of)?|spend(?:ing)?)"
)
_ABOUT = r"(?:around|about|roughly|approximately|approx\.?|ca\.?|circa|~)"
_UNIT = (
    r"(?! ?(?:km|kilomet|people|persons?|guests?|adults?|nights?\b|days?\b|weeks?|of us|"
    r"kids|child|min|m\b|stars?|st\b|nd\b|rd\b|th\b|/|\.\d|-\d|jan|feb|mar|apr|may|jun|"
    r"jul|aug|sep|oct|nov|dec))"
)
BARE_PRICE_MIN = 30
"""`up to 4` without a currency is no price."""


def interpret(text: str, today: date) -> TripRequest:
    phrase = Phrase(text)
    price = _price(phrase)
    stay = find_stay(phrase, today)
    guests = _guests(phrase)
    place = find_place(phrase)
    beach = _wants(plain(text), _BEACH)
    amount, currency, scope = price or (None, "EUR", "night")
    if amount is not None and scope == "stay" and stay:
        amount = round(amount / stay.nights, 2)
    elif amount is not None and scope == "person":
        amount *= guests
    return TripRequest(
        place=place.name if place else None,
        latitude=place.latitude if place else None,
        longitude=place.longitude if place else None,
        near_km=_reach(place, beach=beach),
        stay=stay,
        guests=guests,
        price_max=amount,
        currency=currency,
        beach=beach,
        wishes=[wish for wish, words in WISHES.items() if _wants(plain(text), words)],
    )


def _reach(place: Place | None, *, beach: bool) -> float:
    near_km = place.near_km if place else 20.0
    return max(near_km, BEACH_KM) if beach and near_km >= 15 else near_km


def _wants(text: str, words: str) -> bool:
    """Named at least once other than by `no …` or `without …`."""
    said = re.sub(rf"{_NOT}(?:{words})\b", " ", text, flags=re.IGNORECASE)
    return re.search(rf"\b(?:{words})(?!\w)", said, re.IGNORECASE) is not None


# ---------------------------------------------------------------- price


def _price(phrase: Phrase) -> tuple[float, Currency, Scope] | None:
    """The most to be paid, its currency, and what it is for."""
    between = phrase.take(
        rf"\b(?:between|from)? ?{_SIGN}? ?(\d+) ?{_SIGN}?(?: and | to |"
        rf" ?- ?){_SIGN}? ?{_NUMBER} ?(?:{_SIGN}|(?={_NIGHTLY}))(?:{_NIGHTLY})?"
    ) or phrase.take(rf"\bbetween {_SIGN}? ?(\d{{2,}}) ?{_SIGN}? and {_SIGN}? ?{_NUMBER} ?{_SIGN}?{_UNIT}")
    if between:
        signs = [g for g in between.groups() if g and not g[0].isdigit()]
        return _amount(between[5]), _currency(signs), _scope(phrase)
    for before, factor in ((_MOST, 1.0), (_ABOUT, 1.1)):
        m = phrase.take(rf"(?:\b|(?=[<~])){before} ?{_SIGN}? ?{_NUMBER} ?{_SIGN}?{_UNIT}(?:{_NIGHTLY})?")
        if m and (m[1] or m[3] or _amount(m[2]) >= BARE_PRICE_MIN):
            return _amount(m[2]) * factor, _currency([m[1], m[3]]), _scope(phrase)
        if m:
            phrase.rest += m[0].join("  ")
    m = phrase.take(rf"{_SIGN} ?{_NUMBER}(?: max\w*)?(?:{_NIGHTLY})?")
    if m:
        return _amount(m[2]), _currency([m[1]]), _scope(phrase)
    m = phrase.take(rf"\b{_NUMBER} ?(?:{_SIGN}(?!\w)(?: max\w*)?(?:{_NIGHTLY})?|(?:{_NIGHTLY})|max\b)")
    return (_amount(m[1]), _currency([m[2]]), _scope(phrase)) if m else None


def _amount(text: str) -> float:
    thousands = re.sub(r"[.,' ](?=\d{3}(?!\d))", "", text)
    return float(thousands.replace(",", "."))


def _currency(signs: list[str | None]) -> Currency:
    sign = next((s.lower() for s in signs if s), "eur")
    if sign.startswith(("£", "gbp", "pound", "quid")):
        return "GBP"
    return "USD" if sign.startswith(("$", "us", "dollar", "bucks")) else "EUR"


def _scope(phrase: Phrase) -> Scope:
    if phrase.take(
        r"\b(?:in total|total|altogether|all in|in all|for the (?:whole|entire) (?:stay|trip|week))\b"
    ):
        return "stay"
    if phrase.take(rf"\b(?:per person|a head|pp|p\.p\.|each)(?:{_NIGHTLY})?(?!\w)"):
        return "person"
    return "night"


# ---------------------------------------------------------------- people


def _guests(phrase: Phrase) -> int:
    adults = phrase.take(r"\b(\d{1,2}) (?:adults?|grown-?ups?)\b")
    children = phrase.take(
        r"\b(\d{1,2}) (?:small |young |little )?(?:kids?|child(?:ren)?|bab(?:y|ies)|toddlers?|"
        r"teen\w*|sons?|daughters?)\b"
    )
    friends = phrase.take(
        r"\b(?:me|i|us|with) (?:and )?(?:my )?(\d{1,2}) (?:friends|mates|colleagues|others)\b"
    )
    child = phrase.take(r"\b(?:a|our|my|the) (?:baby|toddler|son|daughter|kid|child)\b")
    if adults or children or child:
        grown = int(adults[1]) if adults else 2
        return _within(grown + (int(children[1]) if children else 0) + (1 if child else 0))
    if friends:
        return _within(int(friends[1]) + 1)
    m = phrase.take(r"\b(?:family|party|group|bunch) of (\d{1,2})\b") or phrase.take(
        r"\b(\d{1,2}) ?(?:people|persons?|guests?|of us|friends|pax|travell?ers)\b"
    )
    m = m or phrase.take(r"\bfor (\d{1,2})\b(?! ?(?:km|nights?|days?|weeks?|eur|%|[./-]\d))")
    if m:
        return _within(int(m[1]))
    if phrase.has(
        r"\b(?:alone|solo|just me|only me|by myself|for myself|single room|on my own|business trip)\b"
    ):
        return 1
    return 4 if phrase.has(r"\b(?:my|our|the|with) (?:family|kids|children)\b") else 2


def _within(guests: int) -> int:
    return min(max(guests, 1), 12)
