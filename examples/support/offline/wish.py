"""What a customer wants, as far as they have said it: a fold over their messages.

A message that names a new wish begins anew; one that does not adds to the wish that is open, an order's
number or an address, say.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

from ..models import Acted, Entry, OrdersFound, Said, Topic

Intent = Literal["refund", "complaint", "address", "where", "policy", "human", "bye"]
Reason = Literal["damaged", "wrong", "broke"]

_DAMAGED = r"broken|damaged|smashed|cracked|scratch\w*|shattered|dented|defect\w*|faulty|in pieces|torn|bent"
_BROKE = (
    r"stopped working|no longer works?|broke (?:after|last|yesterday|down)|died after|does(?:n't| not) work|"
    r"gave up"
)
_WRONG = (
    r"wrong (?:item|colou?r|size|one|thing|product)|not what i ordered|missing (?:parts?|pieces?|screws?)|"
    r"incomplete"
)
_REFUND = (
    r"refund\w*|money back|reimburs\w+|pay(?:ing)? (?:me )?back|"
    r"return (?:it|this|that|the|my|them|order|#?\d+)|"
    r"send (?:it|this|that|the \w+|my \w+|them) back|send back|cancel\w*|give me back"
)
_ADDRESS = (
    r"(?:change|update|correct|wrong|new|different|another|other) (?:\w+ ){0,3}address|"
    r"(?:can|could|should) (?:it|this|they|order \S+|the \w+) (?:go|come) to|"
    r"address (?:is|was) wrong|i(?:'ve| have)? moved|"
    r"(?:send|deliver|ship) (?:it|this|them|(?:order )?#?\d+|the \w+|my \w+)(?: \w+)? to\b"
)
_WHERE = (
    r"where(?:'s| is| are)|when (?:will|does|do|is|can i expect)|track\w*|status|"
    r"(?:has|have)(?:n't| not) arrived|"
    r"still waiting|not (?:yet )?(?:here|arrived|come)|how (?:long until|far)"
)
_HUMAN = (
    r"human|real person|a person|someone real|supervisor|manager|(?:speak|talk) (?:to|with)|"
    r"an? (?:agent|colleague)|complain to"
)
_BYE = r"(?:good)?bye|that(?:'s| is| was) (?:all|it)|nothing else|no,? thanks?|thanks?(?: you)?|cheers"
_ASKS = (
    r"how (?:long|much|many|do|can)|what(?:'s| is| are)|do you|policy|is it possible|can (?:i|one|you)|may i|"
    r"are there|which"
)
_TOPICS: tuple[tuple[Topic, str], ...] = (
    ("warranty", r"warrant\w*|guarantee\w*|repair\w*"),
    ("returns", r"return\w*|send\w* (?:\w+ )?back|refund\w*|money back"),
    ("payment", r"pay(?!\w* back)\w*|invoice\w*|card|paypal|instal\w+|credit"),
    ("shipping", r"shipping|deliver\w*|carrier|parcel lockers?|postage"),
    ("addresses", r"address\w*"),
)
_NUMBER = (
    r"(?:#|\border(?: (?:no\.?|number))?:? ?#?)(\d{4,6})\b|"
    r"\b(\d{4,6})\b(?![.,]?\d* ?(?:eur|€)|-\d|(?-i: [A-ZÄÖÜ]))"
)
"""Of an order. A bare number before a dash or a name is a postal code."""

_MONEY = r"(\d+(?:[.,]\d{1,2})?) ?(?:€|eur(?:os?)?)|€ ?(\d+(?:[.,]\d{1,2})?)"
_STREET = (
    r"(?:\bto|address(?: is)?:?|\bis:?|\bat) +(?:(?:my|the) new address,?:? *)?"
    r"((?=[^?!]*\d)[A-ZÄÖÜ\d][^?!\n]{6,})"
)


@dataclass(frozen=True)
class Wish:
    """By the words that were `said` an order's item is recognised, first by those of the `latest` message.

    `lost` counts messages in a row that were not understood.
    """

    intent: Intent | None = None
    order: str | None = None
    said: frozenset[str] = frozenset()
    latest: frozenset[str] = frozenset()
    amount: float | None = None
    half: bool = False
    address: str | None = None
    reason: Reason | None = None
    topic: Topic | None = None
    lost: int = 0


def standing(log: Sequence[Entry]) -> Wish:
    """The wish that is open. It is settled once the customer was told what came of it."""
    wish, acted, items = Wish(), False, frozenset[str]()
    for entry in log:
        match entry:
            case Said(who="customer", text=text):
                wish, acted = add(wish, text, items), False
            case OrdersFound(orders=orders):
                items = words(" ".join(item.name for order in orders for item in order.items))
            case Said(who="person"):
                wish = Wish()
            case Said() if acted:
                wish = Wish(order=wish.order)
            case Acted():
                acted = True
            case _:
                pass
    return wish


def add(before: Wish, text: str, items: frozenset[str] = frozenset()) -> Wish:
    """The wish after that message; `items` are words by which the customer may name what they ordered."""
    text = " ".join(text.replace("’", "'").split())
    intent = _intent(text, before)
    if intent == "refund" and before.intent == "complaint":
        wish = replace(before, intent="refund")
    else:
        wish = before if intent in (None, before.intent) else Wish(intent, order=_meant_again(before, text))
    informed, said = _informed(wish, text), words(text)
    understood = intent is not None or informed != wish or bool(said & items)
    lost = 0 if understood else before.lost + 1
    return replace(informed, said=wish.said | said, latest=said, lost=lost)


def words(text: str) -> frozenset[str]:
    return frozenset(word.removesuffix("s") for word in re.findall(r"[^\W\d_]{4,}", text.casefold()))


def _has(pattern: str, text: str) -> bool:
    return re.search(rf"(?<!\w)(?:{pattern})(?!\w)", text, re.IGNORECASE) is not None


def _intent(text: str, before: Wish) -> Intent | None:
    harmed = _has(f"{_DAMAGED}|{_WRONG}|{_BROKE}", text)
    asks = _has(_ASKS, text) and _topic(text) is not None
    if _has(_HUMAN, text):
        return "human"
    if before.intent == "complaint" and re.match(r"(?:yes|yeah|yep|please|sure|ok)\b", text, re.IGNORECASE):
        return "refund"
    if asks and not harmed and not re.search(_NUMBER, text, re.IGNORECASE) and not _has(_WHERE, text):
        return "policy"
    if _has(_REFUND, text):
        return "refund"
    if harmed:
        return "refund" if before.intent == "refund" else "complaint"
    if _has(_ADDRESS, text):
        return "address"
    if _has(_WHERE, text):
        return "where"
    if _has(_BYE, text) and not re.search(r"\d{4}", text):
        return "bye"
    return None


def _informed(wish: Wish, text: str) -> Wish:
    """The wish with what the message says of it. Amounts and addresses have numbers that are no order's."""
    amount, address, rest = wish.amount, wish.address, text
    if money := re.search(_MONEY, text, re.IGNORECASE):
        amount, rest = float((money[1] or money[2]).replace(",", ".")), text.replace(money[0], " ")
    if wish.intent == "address" and (found := _address(rest, wish)):
        address, rest = found, rest.replace(found, " ")
    number = re.search(_NUMBER, rest, re.IGNORECASE)
    return replace(
        wish,
        amount=amount,
        address=address,
        order=(number[1] or number[2]) if number else wish.order,
        reason=_reason(text) or wish.reason,
        half=wish.half or _has("half", text),
        topic=(_topic(text) if wish.intent == "policy" else None) or wish.topic,
    )


def _reason(text: str) -> Reason | None:
    reasons: tuple[tuple[Reason, str], ...] = (("broke", _BROKE), ("damaged", _DAMAGED), ("wrong", _WRONG))
    return next((reason for reason, pattern in reasons if _has(pattern, text)), None)


def _topic(text: str) -> Topic | None:
    return next((topic for topic, pattern in _TOPICS if _has(pattern, text)), None)


def _address(text: str, wish: Wish) -> str | None:
    """After `to …` or `address: …`; as an answer to the question for it, whatever has a number."""
    if found := re.search(_STREET, text):
        return found[1].strip(" .")
    asked_for = wish.address is None and wish.said
    bare = re.fullmatch(r"(?:it's |it is )?((?=.*\d)[^\d\W].{7,})", text)
    return bare[1].strip(" .") if asked_for and bare and not _has(_ADDRESS, text) else None


def _meant_again(before: Wish, text: str) -> str | None:
    return before.order if _has("it|that|this|the order|that order", text) else None
