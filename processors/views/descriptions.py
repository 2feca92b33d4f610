"""Descriptions of tasks and their steps in one line each, for a terminal or a page."""

from segue.processors.formatting import duration, headline, preview, usd
from segue.processors.views.steps import label_of
from segue.processors.views.timeline_events import Attempt, Mark, Step, StepAnswer
from segue.topics.parts import Spent
from segue.topics.records import Question, Status


def standing(status: Status) -> str:
    """What a task waits for, why it can't go on, or what it shows of itself."""
    if status.questions:
        return " | ".join(f"asks {q.to}: {question_line(q)}" for q in status.questions)
    if status.problem:
        return status.problem.message
    return preview(status.view) if status.view is not None else ""


def question_line(question: Question) -> str:
    """Its first line says what is asked; the rest is for who looks closer."""
    labels = " / ".join(option.label for option in question.options)
    asked = headline(question.text)
    return f"{asked} ({labels})" if labels else asked


def spent_line(spent: Spent) -> str:
    """`$0.0123 812 tokens`; where no price is known of some of them, `$0.01 + ? 812 tokens`."""
    known = usd(spent.usd) if spent.usd or not spent.unpriced_tokens else ""
    cost = " + ".join(filter(None, (known, "?" if spent.unpriced_tokens else "")))
    return f"{cost} {spent.tokens:,} tokens"


def mark_of(step: Step, attempt: Attempt | None) -> Mark:
    if attempt is not None:
        outcomes: dict[str, Mark] = {"succeeded": "ok", "failed": "failed", "refused": "failed"}
        return outcomes.get(attempt.outcome, "waiting")
    outcomes = {"succeeded": "ok", "failed": "failed", "ended": "failed"}
    return outcomes.get(step.outcome, "waiting")


def duration_ms_of(step: Step, attempt: Attempt | None) -> float | None:
    if attempt is not None:
        return attempt.duration_ms
    if step.started_ms is None or step.ended_ms is None:
        return None
    return step.ended_ms - step.started_ms


def outcome_line(step: Step, attempt: Attempt | None) -> str:
    """What came out, or why nothing did and what was made of that."""
    if attempt is not None and attempt.outcome in ("failed", "refused"):
        return f"{attempt.reason or ''}{_consequence(attempt)}"
    if attempt is not None and attempt.outcome != "succeeded":
        return "is being checked" if attempt.outcome == "checking" else "is running"
    if step.problem is not None:
        return step.problem.message
    if step.question is None:
        return preview(step.result)
    match step.outcome:
        case "succeeded":
            return label_of(step.question, step.result)
        case "ended":
            return headline(step.question.text)
        case _:  # it stands there whole
            return ""


def answer_line(step: Step, answer: StepAnswer) -> str:
    """Tell of an answer that did not count, or that is not decided."""
    said = label_of(step.question, answer.value) if step.question else preview(answer.value)
    by = answer.by or "somebody"
    if answer.counts is None:
        return f"{by} answered {said}: the task has not taken it yet"
    return f"{by} answered {said}, which did not count: {answer.reason or 'it came too late'}"


def _consequence(attempt: Attempt) -> str:
    match attempt.then:
        case "retry":
            return f" → retried in {duration(attempt.wait_ms)}"
        case "reroute":
            return " → rerouted"
        case "ask again":
            return " → asked again with the critique"
        case "give up":
            return " → gave up"
        case None:
            return ""
