"""Looks each quote up in its source, and for newer sources that say otherwise."""

from collections.abc import Iterator

from ..models import Claim, Draft, Objection, Passage, Verdict
from .evidence import aspect_of, evidence, score
from .words import ASPECTS, numbers


def criticize(draft: Draft, passages: list[Passage], searched: list[str]) -> Verdict:
    by_id = {passage.id: passage for passage in passages}
    faults = [fault for claim in draft.claims if (fault := _fault(claim, by_id))]
    gaps = [gap for question in draft.unanswered for gap in _gap(question, searched)]
    return Verdict(objections=[*faults, *gaps])


def _fault(claim: Claim, by_id: dict[str, Passage]) -> Objection | None:
    source = by_id.get(claim.source)
    if source is None or claim.quote not in " ".join(source.text.split()):
        return Objection(about=claim.source, problem="The quote does not stand there.")
    if newer := _overtaken(claim, source, list(by_id.values())):
        return Objection(
            about=claim.source, problem=f"{newer.document} ({newer.year}) is newer and says otherwise."
        )
    return None


def _overtaken(claim: Claim, source: Passage, passages: list[Passage]) -> Passage | None:
    """By another figure for the same, in a sentence that fits the question as well."""
    newer = [passage for passage in passages if passage.year > source.year]
    for rival in evidence(claim.question, newer):
        as_good = rival.score >= score(claim.question, claim.quote)
        if as_good and numbers(rival.sentence) - numbers(claim.quote):
            return rival.passage
    return None


def _gap(question: str, searched: list[str]) -> Iterator[Objection]:
    """Other words for the same are worth another search; the same words are not."""
    aspect, thing = aspect_of(question)
    query = " ".join([*ASPECTS.get(aspect, ()), thing])
    if query not in searched:
        yield Objection(about=question, problem="No passage answers it yet.", search=query)
