"""What authors say about a draft, as a `Style`. A later note counts more than an earlier one."""

import re
from dataclasses import dataclass, replace
from typing import Literal

Tone = Literal["formal", "plain", "friendly"]

CAN = "tone, length, greeting, signature and subject, add a sentence and leave something out"

_NOT = r"\b(?:less|not (?:so|too|that|as)|too|don't be (?:so|too)|stop being) "
_FORMAL = (
    r"formal(?:ly)?|official|polite(?:r|ly)?|professional|serious|businesslike|distant|stiff|cold|respectful"
)
_FRIENDLY = (
    r"friendl(?:y|ier)|warm(?:er|ly)?|casual|informal|relaxed|personal|nicer?|kind(?:er|ly)?|chummy|cheerful"
)
_PLAIN = r"neutral|matter-of-fact|plain(?:er)?|factual|sober"
_SHORT = r"short(?:er|en)?|brief(?:er|ly)?|concise|tighter|too long|cut it|half the length|less detail"
_LONG = r"longer|more details?|too short|in full|elaborate"
_POLITE = re.compile(r"(?:\W|please|thanks?|thank you)*", re.IGNORECASE)
_NUMBER = {"one": 1, "two": 2, "three": 3, "four": 4, "five": 5}
_END = r"(?=[.;!\n]|,? and (?:make|leave|sign|drop|be|call|add|remove|keep|mention)\b|$)"


@dataclass(frozen=True)
class Style:
    tone: Tone = "plain"
    points_max: int = 4
    greeting: str | None = None
    signature: str | None = None
    subject: str | None = None
    added: tuple[str, ...] = ()
    omitted: tuple[str, ...] = ()
    sources: bool = True
    remark: str | None = None


def apply(style: Style, note: str) -> Style:
    """The style as this note changes it; one of which nothing is understood is answered with what can be."""
    changed, rest = replace(style, remark=None), note
    for change in (_subject, _addition, _omission, _greeting, _signature, _length, _tone):
        changed, rest = change(changed, rest)
    if rest != note or _POLITE.fullmatch(note):
        return changed
    return replace(changed, remark=f"I did not understand “{note.strip()}”. I can change {CAN}.")


def _take(note: str, pattern: str) -> tuple[re.Match[str] | None, str]:
    """What was recognised is taken out: the words of an added sentence are no wish for a tone."""
    found = re.search(pattern, note, re.IGNORECASE)
    return found, note[: found.start()] + " " + note[found.end() :] if found else note


def _subject(style: Style, note: str) -> tuple[Style, str]:
    found, note = _take(
        note, rf"\b(?:change the )?subject(?: line)?(?: to|:| should be| is) *[\"“]?([^\"”\n.;]+)[\"”]?{_END}"
    )
    return (replace(style, subject=found[1].strip()) if found else style), note


def _addition(style: Style, note: str) -> tuple[Style, str]:
    found, note = _take(
        note,
        r"\b(?:(?:also )?(?:mention|add|say|include|note)(?: that|:)|"
        r"(?:tell|remind) (?:her|him|them) that|add) +"
        rf"[\"“]?(.+?)[\"”]?{_END}",
    )
    if not found:
        return style, note
    sentence = found[1].strip(" ,")
    sentence = sentence[:1].upper() + sentence[1:] + ("" if sentence.endswith(("?", "…")) else ".")
    return replace(style, added=(*style.added, sentence)), note


def _omission(style: Style, note: str) -> tuple[Style, str]:
    found, note = _take(
        note,
        r"\b(?:leave out|without|drop|remove|don't mention|do not mention|skip|omit|take out|cut)(?! it\b) +"
        rf"(?:the |any )?(?:(?:part|point|sentence|bit)s? (?:about|on|with) )?(?:the )?(.+?){_END}",
    )
    if not found:
        return style, note
    if re.search(r"\b(?:sources?|documents?|references?|file names?)\b", found[1], re.IGNORECASE):
        return replace(style, sources=False), note
    return replace(style, omitted=(*style.omitted, found[1].strip(" ,"))), note


def _greeting(style: Style, note: str) -> tuple[Style, str]:
    found, note = _take(
        note,
        r"\b(?:start with|open with|greet (?:her|him|them) with|begin with) +[\"“]?([^\"”.;\n]+?)[\"”]?"
        + _END,
    )
    if found:
        return replace(style, greeting=found[1].strip(" ,")), note
    found, note = _take(
        note, rf"\b(?:call|address) (?:her|him|them) (?:as )?[\"“]?([^\"”.,;\n]+?)[\"”]?{_END}"
    )
    return (replace(style, greeting=f"Dear {found[1].strip()}") if found else style), note


def _signature(style: Style, note: str) -> tuple[Style, str]:
    found, note = _take(
        note, rf"\bsign(?:ed)?(?: it| this)?(?: off)? (?:as|by|with|from) +[\"“]?([^\"”.;\n]+?)[\"”]?{_END}"
    )
    return (replace(style, signature=found[1].strip(" ,")) if found else style), note


def _length(style: Style, note: str) -> tuple[Style, str]:
    count, note = _take(
        note,
        rf"\b(?:only |in |at most |just )?(\d|{'|'.join(_NUMBER)}) (?:points?|sentences?|bullets?|lines?)\b",
    )
    if count:
        return replace(style, points_max=max(1, _NUMBER.get(count[1].lower()) or int(count[1]))), note
    longer, note = _take(note, rf"\b(?:{_LONG})\b|\bnot (?:so|too|that) (?:short|brief)\b")
    if longer:
        return replace(style, points_max=style.points_max + 2), note
    shorter, note = _take(note, rf"\b(?:{_SHORT})\b")
    return (replace(style, points_max=max(1, style.points_max // 2)) if shorter else style), note


def _tone(style: Style, note: str) -> tuple[Style, str]:
    """`too formal` and `less formal` ask for the opposite."""
    tones: tuple[tuple[str, Tone], ...] = (
        (rf"{_NOT}(?:{_FORMAL})\b", "friendly"),
        (rf"{_NOT}(?:{_FRIENDLY})\b", "formal"),
        (rf"\b(?:{_FORMAL})\b", "formal"),
        (rf"\b(?:{_FRIENDLY})\b", "friendly"),
        (rf"\b(?:{_PLAIN})\b", "plain"),
    )
    for pattern, tone in tones:
        found, note = _take(note, pattern)
        if found:
            return replace(style, tone=tone), note
    return style, note
