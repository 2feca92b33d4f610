"""Why a task is parked: its code no longer fits its log, or has a bug. It waits for other code, unharmed.

    … ─▶ event ─▶ asks for something else than the log has ─▶ parked ──▶ the right code plays on from there

    … ─▶ event ─▶ KeyError ─▶ parked ─┬▶ mended code plays that event anew, and goes on
                                      └▶ cancelled: the task fails by the KeyError, and undoes what it did

What is a bug is told by the type of the exception: a name, an attribute or a key that is not there is a
mistake of whoever wrote the workflow, which more tries do not mend but a deployment does. What the code asked
for since that event is held back, so that for all others the event has not happened.
"""

import re

from segue.processors.workflow.completion import problem_by
from segue.topics.descriptions import kind_of, text_of, traceback_of
from segue.topics.errors import BadInput, Permanent, StepError, UnknownName, in_words, leaves
from segue.topics.records import Event, Problem, StepFailed, StepSucceeded, TimerFired

BUGS: tuple[type[Exception], ...] = (
    ArithmeticError,
    AssertionError,
    AttributeError,
    BadInput,
    ImportError,
    LookupError,
    NameError,
    NotImplementedError,
    RecursionError,
    SyntaxError,
    TypeError,
    UnknownName,
)
"""Exceptions that park a task where its workflow does not catch them; `@workflow(bugs=…)` takes others."""

USAGE_ERROR = "pydantic_ai.exceptions.UserError"
"""Pydantic AI's name for a mistake in how an agent is used: a bug where `BadInput` is one. Known by its name,
for only apps with agents load Pydantic AI."""

PUT_ASIDE = "PutAside"
"""The type of the problem where a record of the task was put aside: its code goes on with whatever comes."""

LAST_LINES_CHARS_MAX = 500

ON_PURPOSE = (StepError, Permanent)
"""Never a bug: a step gave up and nobody caught it, or the workflow itself says that its task fails."""

MEND = "mend the workflow and deploy it, and the task goes on from here; or cancel the task, and it fails"

FORCE = "or end the task now by `segue cancel --force`"

FIT = f"deploy the code that this task began with, or give the new workflow a new version; {FORCE}"

ENDLESS = "it runs on and on without waiting for a step"

_OWN = (
    "a lock, semaphore, queue, event or future belongs to one task, so make it in the workflow; "
    "what limits many tasks is App(…, limits={route: Limit(…)})"
)

DEADLOCKED = f"it waits for something that no step of it will bring: {_OWN}"

SHARED = f"it shares something with another task or a thread: {_OWN}"

_OTHER_LOOP = re.compile(r"\bdifferent (event )?loop\b|^await wasn't used with future$")


def is_bug(error: BaseException, bugs: tuple[type[Exception], ...]) -> bool:
    """Of several at once, as a task group raises them, one is enough."""
    return any(_is_bug(each, bugs) for each in leaves(error))


def _is_bug(error: BaseException, bugs: tuple[type[Exception], ...]) -> bool:
    if _is_usage_error(error):
        return BadInput in bugs
    return issubclass(type(error), bugs) and not issubclass(type(error), ON_PURPOSE)


def is_of_another_loop(error: BaseException) -> bool:
    """Whether asyncio says of a lock or a future that another task has it, in a text that tells addresses."""
    said = (text_of(each) for each in leaves(error) if type(each) in (RuntimeError, ValueError))
    return any(map(_OTHER_LOOP.search, said))


def _is_usage_error(error: BaseException) -> bool:
    return any(f"{each.__module__}.{each.__qualname__}" == USAGE_ERROR for each in type(error).__mro__)


def check_bugs(workflow: str, bugs: tuple[object, ...]) -> None:
    """Raises `BadInput` if they are not what `@workflow(bugs=…)` takes."""
    given = f"workflow {workflow!r}: bugs={bugs!r}"
    if type(bugs) is not tuple or not all(
        isinstance(bug, type) and issubclass(bug, Exception) for bug in bugs
    ):
        raise BadInput(f"{given} is no tuple of exceptions, as (*BUGS, OSError) is")


def by_bug(error: Exception) -> Problem:
    problem = problem_by(error)
    return problem.model_copy(update={"message": f"{problem.message}: {MEND}"})


def by_change(how: str) -> Problem:
    return Problem(type="WorkflowChanged", message=f"{how}: {FIT}", retryable=False)


def by_absence(unknown: UnknownName) -> Problem:
    return Problem(type="UnknownName", message=f"{unknown}: deploy it, {FORCE}", retryable=False)


def by_failure(error: BaseException) -> Problem:
    """An event could not be played, by a mistake that is nobody's in the workflow: a type's own code, say."""
    where = traceback_of(error, LAST_LINES_CHARS_MAX, ours=True).strip().replace("\n", " | ")
    message = f"it can't go on: {in_words(error)} ({where}): deploy code that does not raise it, {FORCE}"
    return Problem(type=kind_of(error), message=message, retryable=False)


def by_refusal(reason: str) -> Problem:
    """What followed from an event could not be decided, or not be published."""
    message = f"it can't go on: {reason}: {MEND.partition(';')[0]}; {FORCE}"
    return Problem(type=PUT_ASIDE, message=message, retryable=False)


def hears_at_once(problem: Problem) -> bool:
    """Whether a task that is parked by this can be cancelled: at a bug, which is told with its traceback."""
    return problem.traceback is not None or problem.type == PUT_ASIDE


def by_event(event: Event, now: str) -> Problem:
    """The log has that event, and the workflow something else."""
    match event:
        case StepSucceeded(route=str(route)) | StepFailed(route=str(route)):
            what = f"step {event.step} is on the task's log as {route!r}"
        case StepSucceeded() | StepFailed() | TimerFired():
            what = f"step {event.step} is on the task's log"
        case _:
            what = f"{event.kind} is on the task's log"
    return by_change(f"{what}, but {now}")
