"""What a model's answer must be, beyond its type. A refusal goes back to the model with its message."""

from segue import OutputRejected, check

from .models import Passage, Summary


@check
def quoted(summary: Summary, passages: list[Passage]) -> None:
    """Each point rests on words that stand in the document that it names."""
    for point in summary.points:
        texts = [_plain(p.text) for p in passages if p.document == point.document]
        if not any(_plain(point.quote) in text for text in texts):
            raise OutputRejected(
                f"No passage of {point.document} has these words: “{point.quote}”. Quote word for word."
            )


def _plain(text: str) -> str:
    """However its lines are broken."""
    return " ".join(text.split())
