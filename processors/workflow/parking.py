"""Parking: a task whose code does not match its log, or has a bug, waits for other code.

    … ─▶ event ─▶ asks for something else than the log has ─▶ parked ──▶ the right code plays on from there

    … ─▶ event ─▶ KeyError ─▶ parked ─┬▶ mended code plays that event anew, and goes on
                                      └▶ cancelled: the task fails by the KeyError, and undoes what it did

The exception's type decides whether it counts as a bug: a missing name, attribute or key is a mistake in the
workflow's code, which a retry does not fix, but a deployment does. The records that the code asked for since
that event are not published, so for all others the event has not happened.
"""

from segue.processors.event_loop.sharing import OWN
from segue.processors.workflow.completion import problem_by
from segue.topics.descriptions import kind_of, traceback_of
from segue.topics.errors import UnknownName, in_words
from segue.topics.records import Event, Problem, StepFailed, StepSucceeded, TimerFired

PUT_ASIDE = "PutAside"
"""The type of the problem where a record of the task was put aside: its code goes on with whatever comes."""

LAST_LINES_CHARS_MAX = 500


MEND = "fix the workflow and deploy it, and the task continues from here; or cancel the task, and it fails"

FORCE = "or end the task now by `segue cancel --force`"

FIT = f"deploy the code that this task began with, or give the new workflow a new version; {FORCE}"

ENDLESS = "the workflow runs without end and never waits for a step"


DEADLOCKED = f"the workflow waits for something that none of its steps can deliver: {OWN}"


def by_bug(error: Exception) -> Problem:
    problem = problem_by(error)
    return problem.model_copy(update={"message": f"{problem.message}: {MEND}"})


def by_change(how: str) -> Problem:
    return Problem(type="WorkflowChanged", message=f"{how}: {FIT}", retryable=False)


def by_absence(unknown: UnknownName) -> Problem:
    return Problem(
        type="UnknownName", message=f"{unknown}: deploy an app that has it, {FORCE}", retryable=False
    )


def by_failure(error: BaseException) -> Problem:
    """An event could not be played, by a mistake that is nobody's in the workflow: a type's own code, say."""
    where = traceback_of(error, LAST_LINES_CHARS_MAX, ours=True).strip().replace("\n", " | ")
    message = (
        f"the task can't continue: {in_words(error)} ({where}): deploy code that does not raise it, {FORCE}"
    )
    return Problem(type=kind_of(error), message=message, retryable=False)


def by_refusal(reason: str) -> Problem:
    """What followed from an event could not be decided, or not be published."""
    message = f"the task can't continue: {reason}: {MEND.partition(';')[0]}; {FORCE}"
    return Problem(type=PUT_ASIDE, message=message, retryable=False)


def hears_at_once(problem: Problem) -> bool:
    """Return whether a task parked by this can be cancelled: at a bug, or at a record that was put aside."""
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
