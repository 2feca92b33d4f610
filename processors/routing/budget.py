"""The budget of a task and what it has used. `workflow.budget_guard` stops the workflow when it is used up.

A task's `BudgetAccount` is computed from its journal: each outcome of a step adds what the step consumed,
with all its attempts and judges; a child's outcome adds what the child and its own children consumed. So a
replay finds the same amount, and stops the workflow at the same await.

A model is called while something is left of the budget. Calls that are made at the same time are all made:
each call in flight, and each child that has begun, may use all that is left, so together they may use more.

A budget is raised by a signal with the name `segue.budget`, which Segue handles itself.
"""

from typing import Any

from pydantic import ValidationError

from segue.processors.formatting import usd
from segue.topics.codec import describe
from segue.topics.errors import BadInput, BudgetExceeded, StepError
from segue.topics.parts import Budget, Refusal, Spent, Usage
from segue.topics.records import Problem, StepFailed, StepSucceeded

BUDGET_SIGNAL = "segue.budget"
EXCEEDED = "BudgetExceeded"
"""The type of the problem, by which the error is recognised."""


class BudgetAccount:
    """A task's budget, and what it has spent. Without a budget it only counts."""

    def __init__(self, budget: Budget | None) -> None:
        self.budget = budget
        self.spent = Spent()

    def add(self, event: StepSucceeded | StepFailed) -> None:
        if (more := consumed(event)) is not None:
            self.spent += more

    @property
    def is_empty(self) -> bool:
        return self.budget is not None and used_up(self.spent, self.budget) is not None

    @property
    def lacks_usd(self) -> bool:
        return self.budget is not None and self.budget.usd is not None and self.spent.usd >= self.budget.usd

    @property
    def left(self) -> Budget | None:
        """Return what a call or a child may still use."""
        if self.budget is None:
            return None
        dollars, tokens = self.budget.usd, self.budget.tokens
        return self.budget.model_copy(
            update={
                "usd": None if dollars is None else max(dollars - self.spent.usd, 0.0),
                "tokens": None if tokens is None else max(tokens - self.spent.tokens, 0),
            }
        )

    def set(self, given: Budget) -> None:
        """Set the given parts of the budget; the other parts do not change."""
        self.budget = (self.budget or Budget()).model_copy(update=given.model_dump(exclude_none=True))


def consumed(event: StepSucceeded | StepFailed) -> Spent | None:
    """Return what a whole step consumed, according to its outcome."""
    if event.spent is None and isinstance(event, StepSucceeded) and event.usage is not None:
        return Spent.of(event.usage)
    return event.spent


def together(*parts: Spent | Usage | None) -> Spent | None:
    known = [Spent.of(part) if isinstance(part, Usage) else part for part in parts if part is not None]
    return sum(known[1:], known[0]) if known else None


def used_up(spent: Spent | None, budget: Budget | None) -> str | None:
    """Return which part of the budget is used up, as text; None while something is left of each part."""
    if budget is None:
        return None
    spent = spent or Spent()
    if budget.usd is not None and spent.usd >= budget.usd:
        return f"{usd(spent.usd)} of {usd(budget.usd)} are spent"
    if budget.tokens is not None and spent.tokens >= budget.tokens:
        return f"{spent.tokens:,} of {budget.tokens:,} tokens are used"
    return None


def exceeded(what: str) -> Problem:
    message = (
        f"the budget is used up: {what}. Raise it with `segue budget TASK --usd …`, or handle "
        "BudgetExceeded in the workflow"
    )
    return Problem(type=EXCEEDED, message=message, retryable=False)


def strictest(*budgets: Budget | None) -> Budget | None:
    """Return the budget with the smallest value of each part, and the first `ask`."""
    given = [budget for budget in budgets if budget is not None]
    if not given:
        return None
    return Budget(
        usd=min((b.usd for b in given if b.usd is not None), default=None),
        tokens=min((b.tokens for b in given if b.tokens is not None), default=None),
        ask=next((b.ask for b in given if b.ask is not None), None),
    )


def budget_in(value: Any) -> Budget:
    """Return the budget in a signal that sets it. Raises `BadInput` if it has none."""
    try:
        budget = Budget.model_validate(value)
    except ValidationError as error:
        raise BadInput(
            f'this is not a budget: {describe(error)}: give {{"usd": 2.0, "tokens": 100000}}, for example'
        ) from None
    if budget.usd is None and budget.tokens is None:
        raise BadInput('the budget is empty: give "usd", "tokens" or both')
    return budget


def step_error(name: str, step: int, problem: Problem, refusals: tuple[Refusal, ...] = ()) -> StepError:
    kind = BudgetExceeded if problem.type == EXCEEDED else StepError
    return kind(name, step, problem, refusals)
