"""What guests say about a wish: opinions, sentence by sentence.

Each wish has cues, patterns that speak for or against it. Idioms come first and whole (`couldn't hear a
thing but the sea`). A negator shortly before a cue turns it round (`not quiet`, `no noise`, `anything but
noisy`), and so does `… it is not` after it. So does a frame that announces the opposite: what was promised,
expected or hoped for.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass

from ..models import Review
from .phrase import plain


@dataclass(frozen=True)
class Cues:
    """`idioms` are taken with their value as they stand; `good` and `bad` can be negated."""

    good: str
    bad: str = r"$^"
    idioms: tuple[tuple[str, float], ...] = ()


@dataclass(frozen=True)
class Opinion:
    """`value` from -1 (the opposite) to 1 (just so); `quote` is the sentence."""

    value: float
    quote: str
    author: str


QUIET = Cues(
    good=(
        r"quiet\w*|peace\w*|calm\w*|tranquil\w*|silen(?:t|ce|tly)|seren\w+|hushed|still as|"
        r"stillness|restful|relaxing|undisturbed|birdsong|whisper\w*|sound-?proof\w*|"
        r"double glazing|thick walls|(?:metre|meter|foot|feet) thick|dead-end|car-free|"
        r"closed to cars|bliss\w*|secluded"
    ),
    bad=(
        r"nois\w+|loud\w*|music|clubs?\b(?! sandwich)|disco|karaoke|bars?\b (?:below|"
        r"next door|downstairs|underneath|across|opposite|all around|until)|bars\b|pool bar|"
        r"bells?|traffic|scooters?|mopeds?|motorbikes?|paper-thin|thin walls|ear ?plugs|"
        r"bark\w*|slams?|rattl\w+|trains?|planes?|airport|building works?|construction|"
        r"drill\w*|jackhammer|loudspeakers?|stag part\w+|hen part\w+|(?:bin|garbage) (?:lorry|"
        r"truck)|live bands?|blast\w*|roar\w*|clank\w*|hums|nightlife|four-lane|rowdy|"
        r"roadworks?|deliver(?:y yard|ies start)|church clock|heels|neighbou?rs' television|"
        r"fans? (?:of the kitchen )?runs?|generator|flush|shout\w*|screaming|school groups?|"
        r"bustle"
    ),
    idioms=(
        (r"(?:could|can|did)(?: not|n't) hear (?:a|any) ?(?:thing|sound|one)", 1.0),
        (r"loudest (?:thing|sound|noise)s? (?:was|is|were|are)", 1.0),
        (r"nothing but (?:the )?(?:waves?|sea|birds?|wind|owls?)", 1.0),
        (r"(?:nothing|nobody|no one) (?:disturbs?|disturbed|bothers?|woke)", 1.0),
        (r"(?:never|hardly|barely|not) (?:once )?(?:heard|hear|noticed) (?:it|them|any\w*)", 1.0),
        (r"(?:not|never|n't) (?:slept|sleep) (?:so|as|this) (?:well|soundly|deeply)", 1.0),
        (r"(?:slept|sleep) (?:like|so well|well|soundly|so soundly|wonderfully|better|deeply|through)", 1.0),
        (r"hear (?:the )?(?:pages|sea|waves|birds)", 0.8),
        (r"(?:hardly|barely|never|not|n't|scarcely) (?:slept|sleep|slept a wink|closed an eye)", -1.0),
        (r"sleep(?:ing)? (?:was|is) (?:impossible|difficult|hopeless)", -1.0),
        (r"(?:kept|keeps?) (?:us|me|you) (?:awake|up)|wok(?:e|en) (?:us|me|up)|sleepless", -1.0),
        (r"(?:not|no|never|hardly) (?:a|any|one|a single) (?:sound|peep|whisper)", 1.0),
        (r"(?:keeps?|kept) (?:every|all|the|any) (?:\w+ )?(?:out|outside)", 1.0),
        (
            (
                r"hear(?:d)? (?:nothing|nobody|no one|only)|only (?:thing|sound|"
                r"noise) (?:that )?(?:you|we|i) (?:can )?(?:hear|heard)"
            ),
            1.0,
        ),
        (r"nothing (?:ever )?happens", 0.5),
        (r"(?:could|would|should|might) have been (?:\w+ ){0,3}(?:quiet|peaceful|calm|tranquil)\b.*", -1.0),
        (r"(?:quiet|peaceful|calm) (?:by|during the) day,? but .*", -1.0),
        (r"(?:not|n't) believe how|quiet (?:season|month)s?", 0.0),
        (r"forget (?:about )?(?:sleep|sleeping|rest)", -1.0),
        (r"every \w+ (?:\w+ ){0,3}can be heard", -1.0),
        (r"part(?:y|ies) (?:\w+ ){0,2}until", -1.0),
        (r"hear every|know everything about|hear (?:the|your) neighbou?rs", -1.0),
        (r"no (?:peace|rest|quiet|sleep)\b", -1.0),
        (r"bring ear ?plugs", -1.0),
    ),
)

CUES: dict[str, Cues] = {
    "quiet": QUIET,
    "pool": Cues(
        r"(?:rooftop|long|small|lovely|great|heated|clean) pool|pool is|pool with|laps",
        r"pool was closed|cold pool|crowded",
    ),
    "romantic": Cues(
        r"romantic|anniversary|couples|proposed|in love|for 2|for two|candles?|honeymoon|hideaway",
        r"school groups?|stag",
    ),
    "family-friendly": Cues(
        (
            r"children found|famil\w+|cots?|high chairs?|kids'? corner|connecting rooms|baby'?s?|"
            r"playground|for the (?:4|four) of us"
        ),
        r"frowned|not a place for (?:children|kids)|steep stairs|glass tables",
    ),
    "pet-friendly": Cues(r"dogs? (?:are )?(?:welcome|got)|old dog|spaniel|pets? welcome|no extra charge"),
    "cheap": Cues(
        r"great value|good value|cheap\w*|for this price|paid less", r"overpriced|expensive|at these prices"
    ),
    "central": Cues(
        r"walking distance|old town|around the corner|ideal location|central\w*|on foot",
        r"far from everything|need a car|long walk|uphill",
    ),
    "luxury": Cues(r"luxur\w+|heavenly|spotless|impeccable", r"mould|dated|carpets|kettle|sheets had"),
    "spa": Cues(r"sauna|massages?|spa\b|steam bath"),
    "view": Cues(r"views?|look over|overlook\w*|sunset over", r"wall opposite|no view"),
    "good food": Cues(
        r"warm bread|best of our trip|generous|vegetarian|home-made|delicious|tasty|proper coffee",
        r"sad slice|machine|expensive for what|awful (?:food|breakfast)",
    ),
    "clean": Cues(
        r"clean\w*|spotless|sparkled|fresh", r"mould|dust\w*|dirty|been used|drained badly|carpets"
    ),
    "friendly staff": Cues(
        r"with a smile|like cousins|remembered our names|lovely|patient|drove us|helpful|friendly|kind",
        r"unfriendly|nobody at the desk|nobody answers|waited forty|rude",
    ),
    "hiking": Cues(r"trails?|hik\w+|maps"),
    "surfing": Cues(r"surf\w*|wetsuits|boards"),
    "nightlife": Cues(r"nightlife|great bars|danced|lively", r"nothing to do in the evening|dead after"),
    "parking": Cues(r"parking (?:is )?(?:free|easy)|found a place|garage", r"no parking|nowhere to park"),
}

_NEGATOR = re.compile(
    r"(?:\b(?:not|no|never|hardly|barely|scarcely|without|neither|nor|none|nothing|"
    r"anything but|far from|free of|zero)\b|n't\b)(?: \w[\w'-]*){0,3} $"
    r"|\b(?:nothing|nobody|no one|none)\b(?: \w[\w'-]*){0,5} $"
)
_NEGATED_AFTER = re.compile(
    r"^ (?:it |this |that )?(?:is|was|are|were) (?:not|none)\b|^ (?:it )?(?:isn't|"
    r"wasn't)\b|^,? but (?:there was|we heard) none"
)
_CONTRARY = re.compile(
    r"\b(?:could|would|should|might) have been\b|\b(?:was|were) promised\b|"
    r"\bdescription says\b|\bsupposed to be\b|\badvertised\b"
    r"|\basked for\b|\bhoped for\b|\bexpect(?:ed|ing)\b|\bworried\b|\bafraid\b|\bfeared\b|"
    r"\bused to be\b|\bwarned\b"
)
_ELSEWHERE = re.compile(
    r"\bif you\b.*\b(?:elsewhere|somewhere else|look on|forget it|wrong place|not the place)\b"
)
_CLAUSE = re.compile(r"[,;:]|(?<!anything) but (?!the\b)| and got | - ")


def cues_for(wish: str) -> Cues:
    """The wish's own cues; for a wish that we know nothing of, who mentions its words speaks for it."""
    return CUES.get(wish) or Cues(good=rf"{re.escape(plain(wish).lower())}\w*")


def opinions(reviews: Iterable[Review], wish: str) -> list[Opinion]:
    """One for each review that speaks of the wish, with the sentence that says most."""
    cues = cues_for(wish)
    found: list[Opinion] = []
    for review in reviews:
        sentences = [s for s in re.split(r"(?<=[.!?])\s+", review.text) if s]
        values = [_sentence(s, cues) for s in sentences]
        if any(values):
            weightiest = max(zip(values, sentences, strict=True), key=lambda pair: abs(pair[0]))
            total = max(-1.0, min(1.0, sum(values)))
            found.append(Opinion(total, weightiest[1], review.author))
    return found


def _sentence(sentence: str, cues: Cues) -> float:
    text = f" {plain(sentence).lower()} "
    elsewhere = bool(_ELSEWHERE.search(text))
    total = 0.0
    for pattern, value in cues.idioms:
        while m := re.search(rf"\b(?:{pattern})" if pattern[0].isalpha() else pattern, text):
            total += -value if _announces_contrary(text[: m.start()]) else value
            text = f"{text[: m.start()]} | {text[m.end() :]}"
    for clause in _clauses(text):
        total += _clause(clause, cues, turned=elsewhere or bool(_CONTRARY.search(clause)))
    return max(-1.0, min(1.0, total))


def _announces_contrary(before: str) -> bool:
    return bool(_CONTRARY.search(_CLAUSE.split(before)[-1]))


def _clauses(text: str) -> list[str]:
    """`…, but there was none` belongs to what it denies."""
    kept = re.sub(r",? but there (?:was|were|is) none", " is not", text)
    return [f" {clause.strip(' .!?')} " for clause in _CLAUSE.split(kept)]


def _clause(clause: str, cues: Cues, *, turned: bool) -> float:
    """The sign of the clause: a cue named twice says no more than once; turned twice is turned once."""
    total = 0
    for pattern, sign in ((cues.good, 1), (cues.bad, -1)):
        for m in re.finditer(rf"\b(?:{pattern})(?!\w)", clause):
            before, after = clause[: m.start()], clause[m.end() :]
            negated = bool(_NEGATOR.search(before)) != bool(_NEGATED_AFTER.search(after))
            total += -sign if negated or turned else sign
    return float((total > 0) - (total < 0))
