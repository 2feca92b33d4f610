"""When: from words to a stay, counted from today's date, which is always given.

    ranges      3 to 10 May · May 3-10 · 28 April – 3 May · 2027-05-03 to 2027-05-10 · 3.5.-10.5. · Fri to Mon
    periods     first week of October · last weekend in June · mid-July · Easter · next week · this weekend
    starts      14 May · next Friday · tomorrow · in two weeks · in August   with  2 nights · a week · until …

A date without a year is the next one to come. One in the past is not understood, so that someone asks.
"""

import re
from collections.abc import Callable
from contextlib import suppress
from datetime import date, timedelta
from difflib import get_close_matches

from ..models import Stay
from .phrase import Phrase

_MONTHS = [
    "january",
    "february",
    "march",
    "april",
    "may",
    "june",
    "july",
    "august",
    "september",
    "october",
    "november",
    "december",
]
_WEEKDAYS = ["monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday"]
_ORDINALS = {"first": 1, "1st": 1, "second": 2, "2nd": 2, "third": 3, "3rd": 3, "fourth": 4, "4th": 4}
FRIDAY, SATURDAY = 4, 5

_M = (
    r"(?:jan(?:uary)?|feb(?:ruary)?|mar(?:ch)?|apr(?:il)?|may|june?|july?|aug(?:ust)?|"
    r"sept?(?:ember)?|oct(?:ober)?|nov(?:ember)?|dec(?:ember)?)\b\.?"
)
_D = (
    r"(?:(?:mon|tues?|wed(?:nes)?|thu(?:rs)?|fri|sat(?:ur)?|"
    r"sun)(?:day)?,? )?(?:the )?(\d{1,2})(?:st|nd|rd|th)?(?![\d:])"
)
_Y = r"(?:,? ?(20\d\d))?"
_W = r"(mon|tue|wed|thu|fri|sat|sun)(?:s|nes|rs|ur)?(?:day)?\b"
_TO = (
    r"(?: ?(?:-|\bto\b|\buntil\b|\btill?\b|\bthrough\b|\bthru\b|\band\b|&) ?"
    r"|,? (?:and )?(?:leaving|departing|returning|check(?:ing)?[ -]?out)(?: on)? )"
)
_NUMERIC = r"(\d{1,2})[./](\d{1,2})\.?(?:[./]?(20\d\d|\d\d)\b)?"
_ISO = r"(20\d\d)-(\d\d)-(\d\d)"


def find_stay(phrase: Phrase, today: date) -> Stay | None:
    """The stay that the phrase speaks of, taken out of it; None if it gives none, or one that can't be."""
    phrase.rest = _spelled(phrase.rest)
    with suppress(ValueError, OverflowError):  # 31 June, or a stay that ends before it begins
        stay = _range(phrase, today) or _period(phrase, today) or _start_and_length(phrase, today)
        return stay if stay and stay.check_in >= today else None
    return None


def _range(phrase: Phrase, today: date) -> Stay | None:
    if m := phrase.take(rf"\b{_ISO}{_TO}{_ISO}"):
        y, mo, d, y2, mo2, d2 = map(int, m.groups())
        return Stay(check_in=date(y, mo, d), check_out=date(y2, mo2, d2))
    if m := phrase.take(rf"\b{_NUMERIC}{_TO}{_NUMERIC}"):
        return _between(m[1], m[2], m[3] or m[6], m[4], m[5], m[6], today)
    if m := phrase.take(rf"\b{_D}(?: of)? ({_M}){_Y}{_TO}{_D}(?: of)? ({_M}){_Y}"):
        return _between(m[1], m[2], m[3], m[4], m[5], m[6], today)
    if m := phrase.take(rf"\b{_D}{_TO}{_D}(?: of)? ({_M}){_Y}"):
        return _between(m[1], m[3], m[4], m[2], m[3], m[4], today)
    if m := phrase.take(rf"\b({_M}) {_D}{_Y}{_TO}({_M}) {_D}{_Y}"):
        return _between(m[2], m[1], m[3] or m[6], m[5], m[4], m[6], today)
    if m := phrase.take(rf"\b({_M}) {_D}{_TO}{_D}{_Y}"):
        return _between(m[2], m[1], m[4], m[3], m[1], m[4], today)
    if m := phrase.take(rf"\b(next )?{_W}{_TO}(?:next )?{_W}"):
        start = _weekday(m[2], today) + timedelta(
            days=7 if m[1] and _weekday(m[2], today) - today < timedelta(3) else 0
        )
        return Stay(check_in=start, check_out=_weekday(m[3], start))
    return None


def _between(d: str, m: str, y: str | None, d2: str, m2: str, y2: str | None, today: date) -> Stay:
    start = _date(d, m, y if y != y2 or _month(m) <= _month(m2) else None, today)
    return Stay(check_in=start, check_out=_date(d2, m2, y2, start))


def _period(phrase: Phrase, today: date) -> Stay | None:
    nth = "|".join(_ORDINALS)
    if m := phrase.take(
        rf"\b({nth}|last|final) (\d+ )?(weeks?|weekend|nights|days)(?: (?:of|in))? ({_M}){_Y}"
    ):
        return _nth(m[1].lower(), int(m[2] or 1), m[3].lower(), m[4], m[5], today)
    if m := phrase.take(
        rf"\bweek(end)? (?:of|from|around|starting|beginning)(?: on)? {_D}(?: of)? ({_M}){_Y}"
    ):
        return _around(_date(m[2], m[3], m[4], today), weekend=bool(m[1]))
    if m := phrase.take(rf"\bweek(end)? (?:of|from|around|starting|beginning)(?: on)? ({_M}) {_D}{_Y}"):
        return _around(_date(m[3], m[2], m[4], today), weekend=bool(m[1]))
    if m := phrase.take(rf"\b(long )?weekend (?:in|during) ({_M}){_Y}"):
        weekend = _nth("first", 1, "weekend", m[2], m[3], today)
        return _stay(weekend.check_in, 3 if m[1] else 2)
    if m := phrase.take(r"\b(?:(this|the coming|coming|next|in the|at the) )(long )?weekend\b"):
        friday = _coming_friday(today) + timedelta(days=7 if m[1].lower() == "next" else 0)
        return _stay(max(friday, today), 3 if m[2] else 2 - max((today - friday).days, 0))
    for words, period in _HOLIDAYS:
        if phrase.take(words):
            return _to_come(period, today)
    return None


def _nth(which: str, count: int, unit: str, month: str, year: str | None, today: date) -> Stay:
    def period(y: int) -> Stay:
        first = date(y, _month(month), 1)
        end = (first + timedelta(days=31)).replace(day=1)
        if unit == "weekend":
            saturdays = [
                day
                for n in range((end - first).days)
                if (day := first + timedelta(days=n)).weekday() == SATURDAY
            ]
            saturday = saturdays[_ORDINALS.get(which, 0) - 1]
            return _stay(saturday - timedelta(days=1), 2)
        nights = count * (7 if unit.startswith("week") else 1)
        start = (
            end - timedelta(days=nights)
            if which not in _ORDINALS
            else first + timedelta(days=(_ORDINALS[which] - 1) * nights)
        )
        return _stay(start, nights)

    return period(int(year)) if year else _to_come(period, today)


def _start_and_length(phrase: Phrase, today: date) -> Stay | None:
    relative = _relative_start(phrase, today)
    until = phrase.take(rf"\b(?:until|till?|leaving|departing)(?: on)? {_D}(?: of)? ({_M}){_Y}")
    nights = _nights(phrase)
    start, usual = relative or _start(phrase, today) or (None, 1)
    if start is None:
        return None
    if until:
        return Stay(check_in=start, check_out=_date(until[1], until[2], until[3], start))
    return _stay(start, nights or usual)


def _relative_start(phrase: Phrase, today: date) -> tuple[date, int] | None:
    """Before lengths are looked for: `in 2 weeks` is no length."""
    if m := phrase.take(
        r"\bin (?:about )?(\d+|a) (day|week|month)s?(?:'s? time)?(?= ?(?:$|[,.;!?¦]|for|near|in\b|\d))"
    ):
        days = {"day": 1, "week": 7, "month": 30}[m[2].lower()]
        return today + timedelta(days=days * (1 if m[1].lower() == "a" else int(m[1]))), 1
    if phrase.take(r"\bnext week\b"):
        return today + timedelta(days=7 - today.weekday()), 7
    if phrase.take(r"\bnext month\b"):
        return (today.replace(day=1) + timedelta(days=32)).replace(day=1), 7
    return None


def _start(phrase: Phrase, today: date) -> tuple[date, int] | None:
    """Where the stay begins, and how many nights that usually means if nothing else is said."""
    if m := phrase.take(rf"\b{_ISO}"):
        return date(int(m[1]), int(m[2]), int(m[3])), 1
    if m := phrase.take(rf"\b{_D}(?: of)? ({_M}){_Y}"):
        return _date(m[1], m[2], m[3], today), 1
    if m := phrase.take(rf"\b({_M}) {_D}{_Y}"):
        return _date(m[2], m[1], m[3], today), 1
    if m := phrase.take(rf"\b{_NUMERIC}(?! ?km)"):
        return _date(m[1], m[2], m[3], today), 1
    if m := phrase.take(
        rf"\b(early|beginning of|start of|mid|middle of|late|end of)(?: in)?[ -](?:the )?({_M}){_Y}"
    ):
        part = m[1].lower()
        day = "1" if part[0] in "bs" or part == "early" else "12" if part.startswith("mid") else "24"
        return _date(day, m[2], m[3], today), 7
    if m := phrase.take(rf"\b(next |this |on )?{_W}(?! ?(?:evening )?market)"):
        return _weekday(m[2], today), 1
    if phrase.take(r"\btomorrow\b"):
        return today + timedelta(days=1), 1
    if phrase.take(r"\b(?:tonight|today)\b"):
        return today, 1
    if m := phrase.take(
        rf"\b(?:in|during|for|this|next|throughout|of|around) (?:the month of )?({_M}){_Y}"
    ) or phrase.take(rf"(?:\b|(?<=, ))({_M})(?: (20\d\d)|()(?= ?(?:,|$)))"):
        return _month_to_come(m[1], m[2] or None, today), 7
    return None


def _nights(phrase: Phrase) -> int | None:
    if m := phrase.take(r"\b(\d{1,2})[ -]?(night|day|week)(?:s|er)?\b"):
        return int(m[1]) * (7 if m[2].lower() == "week" else 1)
    if phrase.take(r"\b(?:a|the) fortnight\b"):
        return 14
    if phrase.take(r"\blong weekend\b"):
        return 3
    if phrase.take(r"\b(?:a|the) (?:whole |full )?week\b|\bweek-?long\b"):
        return 7
    if phrase.take(r"\bweekend\b"):
        return 2
    return 1 if phrase.take(r"\b(?:a|a single) night\b|\bovernight\b") else None


# ---------------------------------------------------------------- the calendar


def _stay(start: date, nights: int) -> Stay:
    return Stay(check_in=start, check_out=start + timedelta(days=nights))


def _month(text: str) -> int:
    if text.isdigit():
        return int(text)
    return next(n for n, name in enumerate(_MONTHS, start=1) if name.startswith(text.lower()[:3]))


def _date(day: str, month: str, year: str | None, after: date) -> date:
    """The day of that year, or without one the next such day from `after` on."""
    if year:
        return date(int(year) % 100 + 2000, _month(month), int(day))
    found = date(after.year, _month(month), int(day))
    return found if found >= after else found.replace(year=after.year + 1)


def _month_to_come(month: str, year: str | None, today: date) -> date:
    """Its first day, or tomorrow if it has begun."""
    if not year and _month(month) == today.month:
        return today + timedelta(days=1)
    return _date("1", month, year, today)


def _weekday(name: str, after: date) -> date:
    number = next(n for n, day in enumerate(_WEEKDAYS) if day.startswith(name.lower()))
    return after + timedelta(days=(number - after.weekday() - 1) % 7 + 1)


def _coming_friday(today: date) -> date:
    """Of this weekend: on a Saturday or Sunday it has passed."""
    return today + timedelta(days=FRIDAY - today.weekday())


def _around(day: date, *, weekend: bool) -> Stay:
    if not weekend:
        return _stay(day, 7)
    return _stay(day - timedelta(days=(day.weekday() - FRIDAY) % 7), 2)


def _to_come(period: Callable[[int], Stay], today: date) -> Stay:
    this_year = period(today.year)
    return this_year if this_year.check_in >= today else period(today.year + 1)


def _easter(year: int) -> date:
    """Easter Sunday, by the anonymous Gregorian algorithm (Nature, 20 April 1876)."""
    a, b, c = year % 19, *divmod(year, 100)
    d, e = divmod(b, 4)
    g = (8 * b + 13) // 25
    h = (19 * a + b - d - g + 15) % 30
    i, k = divmod(c, 4)
    weekday = (32 + 2 * e + 2 * i - h - k) % 7
    m = (a + 11 * h + 22 * weekday) // 451
    month, day = divmod(h + weekday - 7 * m + 114, 31)
    return date(year, month, day + 1)


_HOLIDAYS: list[tuple[str, Callable[[int], Stay]]] = [
    (r"\b(?:over |at )?christmas\b|\bxmas\b", lambda year: _stay(date(year, 12, 24), 3)),
    (r"\bnew year'?s?(?: eve| day)?\b|\bnye\b", lambda year: _stay(date(year, 12, 30), 3)),
    (r"\beaster(?: weekend| break)?\b", lambda year: _stay(_easter(year) - timedelta(days=2), 3)),
    (r"\bvalentine'?s?(?: day| weekend)?\b", lambda year: _stay(date(year, 2, 13), 2)),
]


def _spelled(text: str) -> str:
    """Months and weekdays with a slip of the finger are put right: `ocotber`, `wendesday`."""
    return re.sub(r"[A-Za-z]{6,}", lambda m: _right(m[0]), text)


def _right(word: str) -> str:
    names = [name for name in (*_MONTHS, *_WEEKDAYS) if len(name) >= len("august")]
    close = get_close_matches(word.lower(), names, n=1, cutoff=0.85)
    return close[0] if close else word
