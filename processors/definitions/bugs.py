"""The exceptions that count as bugs of a workflow: its task waits for mended code instead of failing."""

from segue.topics.errors import BadInput, Permanent, StepError, UnknownName, leaves

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

ON_PURPOSE = (StepError, Permanent)
"""Exceptions that are never bugs: a step gave up, or the workflow itself fails its task."""


def is_bug(error: BaseException, bugs: tuple[type[Exception], ...]) -> bool:
    """Return whether the error counts as a bug. One bug among the errors of a group is enough."""
    return any(_is_bug(each, bugs) for each in leaves(error))


def _is_bug(error: BaseException, bugs: tuple[type[Exception], ...]) -> bool:
    if _is_usage_error(error):
        return BadInput in bugs
    return issubclass(type(error), bugs) and not issubclass(type(error), ON_PURPOSE)


def _is_usage_error(error: BaseException) -> bool:
    return any(f"{each.__module__}.{each.__qualname__}" == USAGE_ERROR for each in type(error).__mro__)


def check_bugs(workflow: str, bugs: tuple[object, ...]) -> None:
    """Raises `BadInput` if they are not what `@workflow(bugs=…)` takes."""
    given = f"workflow {workflow!r}: bugs={bugs!r}"
    if type(bugs) is not tuple or not all(
        isinstance(bug, type) and issubclass(bug, Exception) for bug in bugs
    ):
        raise BadInput(f"{given} is not a tuple of exception classes, such as (*BUGS, OSError)")
