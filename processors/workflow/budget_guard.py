"""Stops a workflow at the await for which its budget has nothing left, and may ask a person for more."""

import asyncio
from collections.abc import Callable
from typing import Any

from segue.processors.payloads.type_adapters import Accept
from segue.processors.routing.budget import budget_in, exceeded, used_up
from segue.processors.workflow.context import BudgetQuestion, ExecutionContext
from segue.processors.workflow.questions import close_question, open_question, settle_question
from segue.processors.workflow.state.step import Step
from segue.topics.errors import BadInput, BudgetExceeded
from segue.topics.parts import USD_MAX, Budget

NUMBER = {"type": "number", "minimum": 0}
"""JSON schema of the answer to the question for more."""


async def room(context: ExecutionContext, name: str) -> None:
    """Returns when there is something left, for which it may ask somebody. Raises `BudgetExceeded`."""
    budget_account = context.budget_account
    while (
        budget_account.budget is not None
        and (what := used_up(budget_account.spent, budget_account.budget)) is not None
    ):
        if budget_account.budget.ask is None or not await _more(context, budget_account.budget.ask, what):
            raise BudgetExceeded(name, context.steps.next, exceeded(what))


async def within_budget(context: ExecutionContext, name: str, ask: Callable[[], Step]) -> Any:
    """The answer of the step that `ask` asks for; asked for again when somebody has raised the budget."""
    budget_account = context.budget_account
    while True:
        if budget_account.is_empty:
            await room(context, name)
        try:
            return await ask().future
        except BudgetExceeded:  # within the step: what it has done so far was not enough
            if budget_account.budget is None or budget_account.budget.ask is None:
                raise


async def _more(context: ExecutionContext, who: str, what: str) -> bool:
    """Whether there is more now: what is answered is the new budget, and no more than before is a no."""
    budget_account = context.budget_account
    asking = context.budget_question = context.budget_question or _ask(context, who, what)
    asking.waiting += 1
    try:
        answer: float | None = await asyncio.shield(asking.step.future)
    finally:
        asking.waiting -= 1
        if asking.waiting == 0 and not asking.step.future.done():  # nobody needs it any more
            context.budget_question = None
            close_question(context, asking.step, "ended")
    if context.budget_question is asking:
        context.budget_question = None
    if answer is None:
        return True
    more = answer > (budget_account.spent.usd if asking.in_usd else budget_account.spent.tokens)
    if more:
        budget_account.set(Budget(usd=answer) if asking.in_usd else Budget(tokens=int(answer)))
    return more


def _ask(context: ExecutionContext, who: str, what: str) -> BudgetQuestion:
    in_usd = context.budget_account.lacks_usd
    unit = "US dollars" if in_usd else "tokens"
    text = f"The task has used up its budget: {what}. How many {unit} may it use in all? (0: no more)"
    step = context.step("ask", who, [text])
    step.accept = Accept(_number)
    open_question(context, step, who, text, answer=NUMBER)
    return BudgetQuestion(step, in_usd)


def _number(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= USD_MAX:
        raise BadInput(f"{value!r} is no amount: answer with a number, 0 for no more")
    return float(value)


def set_by_signal(context: ExecutionContext, value: Any) -> None:
    """A person has set the budget: whoever waits for more goes on, if there is more."""
    try:
        context.budget_account.set(budget_in(value))
    except BadInput:
        return  # intake lets none of these in
    asking = context.budget_question
    if asking is not None and not context.budget_account.is_empty:
        settle_question(context, asking.step, None)
