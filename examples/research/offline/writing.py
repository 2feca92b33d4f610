"""Quotes, for each question, the sentence that answers it best. What was objected to is not quoted again."""

from ..models import Claim, Draft, Objection, Passage
from .evidence import evidence


def write(questions: list[str], passages: list[Passage], draft: Draft, objections: list[Objection]) -> Draft:
    refused = {(claim.question, claim.source) for claim in draft.claims} & {
        (claim.question, each.about) for each in objections for claim in draft.claims
    }
    claims = [_claim(question, passages, refused) for question in questions]
    unanswered = [question for question, claim in zip(questions, claims, strict=True) if claim is None]
    return Draft(claims=[claim for claim in claims if claim], unanswered=unanswered)


def _claim(question: str, passages: list[Passage], refused: set[tuple[str, str]]) -> Claim | None:
    allowed = [passage for passage in passages if (question, passage.id) not in refused]
    best = next(iter(evidence(question, allowed)), None)
    return Claim(question=question, quote=best.sentence, source=best.passage.id) if best else None
