"""From what an author writes to an `Errand`: address, name, style and subject, in that order.

Whoever recognises a piece takes it out, so that what is left is what the mail is about.
"""

import re

from ..models import Errand

_ADDRESS = r"<?([\w.+-]+@[\w-]+(?:\.[\w-]+)+)>?"
_NAMED = r"((?:[A-Z][\w'’-]+ ){1,3})"
_STYLE = (
    r"[,.;:]? *(?:and |but )?(?:please )?\b("
    r"(?:keep|make) (?:it|this)\b[^.;]*|in an? [\w-]+ (?:tone|way|style)|"
    r"be (?:brief|short|formal|friendly|polite)[^.;]*|(?:very )?(?:briefly|formally|politely)|"
    r"sign (?:it |this )?(?:as|by|with)\b[^.;]*|in (?:two|three|four|\d) (?:points|sentences|lines)"
    r")(?=[.,;]|$)"
)
_VERB = (
    r"(?:please|could you|can you|i (?:want|need|would like) (?:you )?to|i'd like (?:you )?to|hi|hello)[, ]+"
)
_TELLING = (
    r"(?:tell|inform|notify|remind|brief|update|ask|"
    r"write(?: an?(?: short)? (?:e-?mail|mail|message|note|letter))?|"
    r"send(?: an?(?: short)? (?:e-?mail|mail|message|note|summary))?|e-?mail|mail|message|draft(?: an? \w+)?|"
    r"let|explain|summari[sz]e|sum up)"
)
_LINK = (
    r"(?:know|that|about|of|on|regarding|concerning|with|a summary of|summari[sz]ing|"
    r"telling (?:her|him|them))"
)
_THEIR = {
    "her": "your",
    "his": "your",
    "their": "your",
    "she": "you",
    "he": "you",
    "they": "you",
    "him": "you",
}


def read(request: str, answers: list[str]) -> Errand:
    """Answers come first: what the author added weighs more than what stood there before."""
    to = next((m[1] for said in (*reversed(answers), request) if (m := re.search(_ADDRESS, said))), None)
    about = next((a for said in (request, *reversed(answers)) if (a := _about(said))), None)
    style = next(
        (m[1] for said in (*reversed(answers), request) if (m := re.search(_STYLE, said, re.I))), None
    )
    return Errand(to=to, name=_name(request), about=about, style=style)


def _name(request: str) -> str | None:
    """`Dana Meyer <dana@example.com>` says it; `tell dana@example.com` does not."""
    named = re.search(
        rf"(?:\bto |\b(?:tell|inform|e-?mail|notify|remind|ask|let) ){_NAMED}[<(]?{_ADDRESS}", request
    )
    return named[1].strip() if named else None


def _about(said: str) -> str | None:
    """What is left without the address, the style, and the words that only say that it is to be told."""
    text = re.sub(_STYLE, "", said, flags=re.I)
    text = re.sub(rf"(?:\b(?:to|for|at) )?(?:{_NAMED})?[(]?{_ADDRESS}[)]?", " ", text)
    text = " ".join(text.split()).strip(" ,.;:!?")
    for opening in (_VERB, _TELLING, _LINK, _LINK):
        text = re.sub(rf"^{opening}\b[ ,:]*", "", text, flags=re.I).strip(" ,.;:")
    text = re.sub(rf"\b({'|'.join(_THEIR)})\b", lambda m: _THEIR[m[1]], text)
    return text if re.search(r"\w{3}", text) else None
