"""What a draft must be before the critic sees it. A refusal goes back to the writer with its reason."""

from segue import OutputRejected, check

from .models import Draft


@check
def cites_only_found(draft: Draft, found: list[str]) -> None:
    if unknown := sorted({claim.source for claim in draft.claims} - set(found)):
        raise OutputRejected(
            f"These sources were not among the passages: {', '.join(unknown)}. Use the ids given."
        )
    if not draft.claims and not draft.unanswered:
        raise OutputRejected("The draft says nothing: not even what is not answered.")
