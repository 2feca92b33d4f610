"""The report as Markdown: each sentence with the number of its source, the sources at the end."""

from collections.abc import Iterable

from .models import Claim, Draft, Objection, Passage


def markdown(question: str, draft: Draft, passages: Iterable[Passage], unsettled: list[Objection]) -> str:
    by_id = {passage.id: passage for passage in passages}
    numbers = {source: n for n, source in enumerate(dict.fromkeys(c.source for c in draft.claims), 1)}
    answers = [_answered(claim, numbers[claim.source]) for claim in draft.claims]
    sources = [_source(by_id[source], number) for source, number in numbers.items()]
    blocks = [f"# {question}", *answers]
    if draft.unanswered:
        blocks += ["## Not answered by any document", _list(draft.unanswered)]
    if unsettled:
        blocks += ["## Not settled", _list(f"{each.about}: {each.problem}" for each in unsettled)]
    if sources:
        blocks += ["## Sources", "\n".join(sources)]
    return "\n\n".join(blocks) + "\n"


def _answered(claim: Claim, number: int) -> str:
    return f"**{claim.question[:1].upper()}{claim.question[1:]}.** {claim.quote} [{number}]"


def _source(passage: Passage, number: int) -> str:
    return f"{number}. {passage.document} ({passage.year}), `{passage.id}`"


def _list(lines: Iterable[str]) -> str:
    return "\n".join(f"- {line}" for line in lines)
