"""All of Segue's errors.

    Exception
    └── SegueError                    what users may catch
        ├── BadRecord                 bytes that are no record of the topic: they go to the dead letters
        ├── BadInput                  what a person or program gave does not fit; the message says what does
        │   ├── BadOutput             what a workflow returned is not of its type, or can't travel
        │   ├── Stuck                 a workflow waits for what never comes, or never waits
        │   └── TooLate               an answer: its question was closed by then, by another answer, say
        ├── MissingExtra              a package that is not installed; the message says which extra has it
        ├── UnknownName               a workflow, route, tool, check or task that does not exist here
        ├── Unavailable               a broker, worker or service can't be reached
        │   └── NotAllowed            the broker does not allow it to this principal
        ├── Retryable                 raise it in a tool: try again (after `retry_after_s`, if given)
        ├── Permanent                 raise it in a tool: trying again is useless; the next candidate may do
        │   └── TooLarge              what a workflow passes on fits no record
        ├── OutputRejected            raise it in a check: the output is wrong; the message is the critique
        ├── TaskFailed                a program that waited for a task's value: there is none
        ├── NoResult                  a task in a rehearsal has not succeeded
        ├── NotDurable                a task in a rehearsal does something else when it is played again
        └── StepError                 a workflow sees it at its await: the policy gave up on the step
            └── BudgetExceeded        the task has used up its budget
    BaseException
    ├── Suspended                     never seen by users: a workflow that leaves memory
    └── TooManySteps                  ends a workflow that goes on asking beyond its limit

Expected failures of a step are records on a topic, not exceptions.
"""

from collections.abc import Iterator

from segue.topics.descriptions import kind_of, members_of, text_of
from segue.topics.parts import Refusal
from segue.topics.records import Problem, Result


class SegueError(Exception):
    """The base of all errors that Segue raises."""


class BadRecord(SegueError):
    """These bytes are not a record of their topic."""


class BadInput(SegueError):
    """An input or argument is not valid; the message says what is."""


class BadOutput(BadInput):
    """A workflow returned a value that its annotation does not allow, or that is too large for a record."""


class TooLate(BadInput):
    """An answer came after its question was closed; the message says what was answered."""


class Stuck(BadInput):
    """A workflow waits for something that none of its steps can deliver, or runs on and never waits."""


class MissingExtra(SegueError, ImportError):
    """This part of Segue needs a package that is not installed; the message says what to install."""


class UnknownName(SegueError):
    """The workflow, route, tool, check or task does not exist."""


class Unavailable(SegueError):
    """A broker, worker or service can't be reached; the message says what to start or set."""


class NotAllowed(Unavailable):
    """The broker does not allow the operation; the message says which command prints the rights to grant."""


class Retryable(SegueError):
    """The attempt failed, and a retry may succeed. `retry_after_s` is the shortest wait in seconds."""

    def __init__(self, message: str, *, retry_after_s: float | None = None) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class Permanent(SegueError):
    """This candidate can't succeed with this call: it is not retried, and the next candidate is called."""


class TooLarge(Permanent):
    """A value that a workflow passes on is too large for a record. It is no bug: data grew."""


class OutputRejected(SegueError):
    """A check rejected the output. The model gets the message as critique when it is asked again."""


class StepError(SegueError):
    """The step failed for good: retries and candidates are used up, or the failure is permanent.

    `problem` is the last problem; `step` is the step's number in its task; `refusals` has the critiques of
    all rejected outputs of all candidates, in order.
    """

    def __init__(self, name: str, step: int, problem: Problem, refusals: tuple[Refusal, ...] = ()) -> None:
        super().__init__(f"{name}: {problem.message}")
        self.name = name
        self.step = step
        self.problem = problem
        self.refusals = refusals
        if problem.traceback:  # where a tool's own code failed: shown wherever this one's traceback is
            self.add_note(problem.traceback.rstrip())


class TaskFailed(SegueError):
    """The task failed, was cancelled, or was rejected; `result` says how."""

    def __init__(self, result: Result) -> None:
        told = f": {result.problem.message}" if result.problem else ""
        how = result.outcome if result.outcome == "failed" else f"was {result.outcome}"
        super().__init__(f"task {result.task!r} {how}{told}")
        self.result = result


class NoResult(SegueError):
    """A task in a rehearsal has not succeeded; the message says how it ended, or its current status."""


class NotDurable(SegueError):
    """A task in a rehearsal does something else in a replay or after a crash."""


class BudgetExceeded(StepError):
    """The task has used up its budget, so no more models are called."""


class TooManySteps(BaseException):
    """The workflow got an error for too many steps, and then used up the steps that it had to clean up."""


class Suspended(BaseException):
    """Thrown into a workflow that is evicted from memory, and later rebuilt from its journal."""


def sole(error: BaseException) -> BaseException:
    """Return the only error in a group of one, as task groups raise it; return other errors unchanged."""
    while len(within := members_of(error)) == 1:
        error = within[0]
    return error


def leaves(error: BaseException) -> Iterator[BaseException]:
    """Yield the errors in a group and in the groups within it; yield an error that is not a group itself."""
    pending = [error]
    while pending:
        each = pending.pop()
        if within := members_of(each):
            pending += reversed(within)
        else:
            yield each


def in_words(error: BaseException) -> str:
    """Return the error as text for people, with its type unless it is an error of Segue, whose messages are
    sentences.
    """
    said, kind = text_of(error), kind_of(error)
    if issubclass(type(error), SegueError | TooManySteps) and said:
        return said
    return f"{kind}: {said}" if said else kind
