"""All of Segue's errors.

    Exception
    └── SegueError                    what users may catch
        ├── BadRecord                 bytes that are no record of the topic: they go to the dead letters
        ├── BadInput                  what a person or program gave does not fit; the message says what does
        ├── UnknownName               a workflow, route, tool, check or task that does not exist here
        ├── Unavailable               a broker, worker or service can't be reached
        ├── Retryable                 raise it in a tool: try again (after `retry_after_s`, if given)
        ├── Permanent                 raise it in a tool: trying again is useless; the next candidate may do
        ├── Refused                   raise it in a check: the output is wrong; the message is the critique
        └── StepError                 a workflow sees it at its await: the policy gave up on the step
    BaseException
    ├── Suspended                     never seen by users: a workflow that leaves memory
    └── TooManySteps                  ends a workflow that goes on asking beyond its limit

Names say who acts next. Expected failures of a step are records on a topic, not exceptions.
"""

from topics.parts import Refusal
from topics.records import Problem


class SegueError(Exception):
    """The base of all errors that Segue raises."""


class BadRecord(SegueError):
    """These bytes are not a record of their topic."""


class BadInput(SegueError):
    """What was given does not fit; the message says what would."""


class UnknownName(SegueError):
    """No such workflow, route, tool, check or task."""


class Unavailable(SegueError):
    """Something outside can't be reached; the message says what to start or set."""


class Retryable(SegueError):
    """The attempt failed and may succeed later. `retry_after_s`: seconds to wait at least."""

    def __init__(self, message: str, *, retry_after_s: float | None = None) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class Permanent(SegueError):
    """This candidate will never succeed with this call."""


class Refused(SegueError):
    """A check did not accept the output. The message is told to the model when it is asked again."""


class StepError(SegueError):
    """The step failed for good: retries and candidates are used up, or the failure is permanent.

    `problem` is the last one; `step` is the step's number in its task; `refusals` are the outputs' critiques,
    those of all candidates, in their order.
    """

    def __init__(self, name: str, step: int, problem: Problem, refusals: tuple[Refusal, ...] = ()) -> None:
        super().__init__(f"{name}: {problem.message}")
        self.name = name
        self.step = step
        self.problem = problem
        self.refusals = refusals


class BudgetExceeded(StepError):
    """The task has used up its budget, so that no model is called any more."""


class TooManySteps(BaseException):
    """The workflow was told that it asks for too many steps, had some more to clean up, and used them up."""


class Suspended(BaseException):
    """Thrown into a workflow that is evicted from memory; it will be rebuilt from its journal."""
