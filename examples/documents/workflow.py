"""From a folder of documents to a mail that somebody agreed to: this is all there is to the workflow.

Each `await` is a step that survives a crash of anything. Nothing is sent before the author says so, and to
whom is settled before any document is read: whatever a document says can't change it.
"""

from datetime import timedelta

from segue import Task, workflow

from .checks import quoted
from .models import Draft, Errand, NotSent, Passages, Sent, Summary, Verdict
from .routes import document_search, read, summarize, write
from .tools import send

PATIENCE = timedelta(days=2)
QUESTIONS_MAX = 3
NOTES_MAX = 20


@workflow
async def tell(task: Task, request: str) -> Sent | NotSent:
    errand = await understand(task, request)
    if errand.to is None or errand.about is None:
        return NotSent(reason=f"I still don't know {' and '.join(errand.missing)}.")
    found = await task.tool(document_search, query=errand.about)
    summary = await sum_up(task, errand.about, found)
    if not summary.points:
        return NotSent(reason=f"The documents say nothing about this: {errand.about}.")
    draft = await let_approve(task, errand, summary)
    if isinstance(draft, NotSent):
        return draft
    return await task.tool(send, to=errand.to, subject=draft.subject, body=draft.body, at=task.now())


async def understand(task: Task, request: str) -> Errand:
    """Ask the author for what the request leaves open."""
    answers = list[str]()
    while True:
        errand = await task.model(read, {"request": request, "answers": answers}, output=Errand)
        if not errand.missing or len(answers) == QUESTIONS_MAX:
            return errand
        question = f"Please tell me {' and '.join(errand.missing)}."
        answer = await task.ask("author", question, timeout=PATIENCE, default="")
        if not answer:
            return errand
        answers.append(answer)


async def sum_up(task: Task, about: str, found: Passages) -> Summary:
    if not found.passages:
        return Summary(points=[])
    asked = {"about": about, "passages": found.passages}
    return await task.model(summarize, asked, output=Summary, check=quoted(passages=found.passages))


async def let_approve(task: Task, errand: Errand, summary: Summary) -> Draft | NotSent:
    """Write until the author agrees. What is neither yes nor no is a note for the next draft."""
    notes, draft = list[str](), None
    while len(notes) <= NOTES_MAX:
        asked = {"errand": errand, "points": summary.points, "notes": notes, "draft": draft}
        draft = await task.model(write, asked, output=Draft)
        verdict = await task.ask(
            "author",
            f"Shall I send this to {errand.to}? Or say what to change.\n\n{draft}",
            options={"Send it": Verdict.SEND, "Discard it": Verdict.DISCARD},
            answer=str,
            timeout=PATIENCE,
            default=None,
        )
        match verdict:
            case Verdict.SEND:
                return draft
            case Verdict.DISCARD:
                return NotSent(reason="The author discarded the draft.")
            case None:
                return NotSent(reason=f"The author did not answer within {PATIENCE.days} days.")
            case note:
                notes.append(note)
    return NotSent(reason=f"After {NOTES_MAX} notes the draft was still not right.")
