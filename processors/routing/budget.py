"""What a task may use, and what it has used. `workflow.budget_guard` stops the workflow when that is all.

A task's `Purse` is a fold of its journal, as everything about it: each outcome of a step adds what the step
consumed, all its attempts and judges included; a child's outcome adds what the child and its own children
did. So playing the task again finds it as full as it was, and the workflow is stopped at the same await.

A model is called while there is something left, and not once there is nothing. What is asked for at once is
all asked for: calls in flight, and children that have begun, may use more than is left, each of them as
much.

Raising a budget is a signal of the name `segue.budget`, which Segue itself listens to.
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
"""The type of the problem, by which the error is known again."""


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
        """What a call or a child may still use."""
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
        """What is given holds from now on; what is not stays."""
        self.budget = (self.budget or Budget()).model_copy(update=given.model_dump(exclude_none=True))


def consumed(event: StepSucceeded | StepFailed) -> Spent | None:
    """By a whole step, as its outcome says."""
    if event.spent is None and isinstance(event, StepSucceeded) and event.usage is not None:
        return Spent.of(event.usage)
    return event.spent


def together(*parts: Spent | Usage | None) -> Spent | None:
    known = [Spent.of(part) if isinstance(part, Usage) else part for part in parts if part is not None]
    return sum(known[1:], known[0]) if known else None


def used_up(spent: Spent | None, budget: Budget | None) -> str | None:
    """Which part of the budget is, in words; None while there is something left of each."""
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
    """The least of each; of those who might be asked the first."""
    given = [budget for budget in budgets if budget is not None]
    if not given:
        return None
    return Budget(
        usd=min((b.usd for b in given if b.usd is not None), default=None),
        tokens=min((b.tokens for b in given if b.tokens is not None), default=None),
        ask=next((b.ask for b in given if b.ask is not None), None),
    )


def budget_in(value: Any) -> Budget:
    """What a signal that sets a budget says. Raises `BadInput`."""
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
