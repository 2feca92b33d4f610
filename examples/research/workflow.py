"""From a question to a report whose sources hold: this is all there is to the workflow."""

from collections.abc import Iterable

from segue import StepError, Task, workflow

from .checks import cites_only_found
from .models import Draft, Objection, Passage, Passages, Questions, Report, Verdict
from .report import markdown
from .routes import critic, plan, search, write
from .tools import publish

ROUNDS_MAX = 3
"""The budget: a draft that a critic still objects to by then is published with the objections."""


@workflow
async def research(task: Task, question: str) -> Report:
    questions = (await task.model(plan, question, output=Questions)).questions
    searched, found = list(questions), await look_up(task, questions)
    draft, objections = Draft(claims=[]), list[Objection]()
    rounds = 0
    while rounds == 0 or (objections and rounds < ROUNDS_MAX):
        rounds += 1
        more = [each.search for each in objections if each.search]
        found |= await look_up(task, more)
        searched += more
        draft = await compose(task, questions, found, draft, objections)
        objections = await criticize(task, draft, found, searched)
    text = markdown(question, draft, found.values(), objections)
    return Report(
        file=await task.tool(publish, text),
        claims=len(draft.claims),
        sources=sorted({claim.source for claim in draft.claims}),
        rounds=rounds,
        unsettled=[each.problem for each in objections],
    )


async def look_up(task: Task, queries: Iterable[str]) -> dict[str, Passage]:
    """All at once. A search that fails finds nothing: the critic will miss what it should have found."""
    searches = (task.tool(search, query=query) for query in queries)
    answers = await task.gather(*searches, failures="return")
    found = [answer for answer in answers if isinstance(answer, Passages)]
    if answers and not found:
        raise next(answer for answer in answers if isinstance(answer, StepError))
    return {passage.id: passage for answer in found for passage in answer.passages}


async def compose(
    task: Task, questions: list[str], found: dict[str, Passage], draft: Draft, objections: list[Objection]
) -> Draft:
    asked = {
        "questions": questions,
        "passages": list(found.values()),
        "draft": draft,
        "objections": objections,
    }
    return await task.model(write, asked, output=Draft, check=cites_only_found(found=list(found)))


async def criticize(
    task: Task, draft: Draft, found: dict[str, Passage], searched: list[str]
) -> list[Objection]:
    asked = {"draft": draft, "passages": list(found.values()), "searched": searched}
    return (await task.model(critic, asked, output=Verdict)).objections
