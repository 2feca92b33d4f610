"""The decorators by which functions are declared as workflows and checks."""

import inspect
from collections.abc import Awaitable, Callable
from typing import Any, Concatenate, ParamSpec, Protocol, TypeVar, overload

from segue.processors.definitions.bugs import BUGS, check_bugs
from segue.processors.definitions.checks import Check
from segue.processors.definitions.workflow import Workflow
from segue.processors.workflow.task import Task
from segue.topics.errors import BadInput
from segue.topics.parts import Budget

P = ParamSpec("P")
I = TypeVar("I")  # noqa: E741 - input
O = TypeVar("O")  # noqa: E741 - output
T = TypeVar("T")


class Declares(Protocol):
    """Turns a function into a workflow with the given options."""

    @overload
    def __call__(self, function: Callable[[Task], Awaitable[O]], /) -> Workflow[None, O]: ...
    @overload
    def __call__(self, function: Callable[[Task, I], Awaitable[O]], /) -> Workflow[I, O]: ...


@overload
def workflow(function: Callable[[Task], Awaitable[O]], /) -> Workflow[None, O]: ...
@overload
def workflow(function: Callable[[Task, I], Awaitable[O]], /) -> Workflow[I, O]: ...
@overload
def workflow(
    *,
    name: str | None = None,
    version: int = 1,
    budget: Budget | None = None,
    bugs: tuple[type[Exception], ...] = BUGS,
) -> Declares: ...
def workflow(
    function: Any = None,
    /,
    *,
    name: str | None = None,
    version: int = 1,
    budget: Budget | None = None,
    bugs: tuple[type[Exception], ...] = BUGS,
) -> Any:
    """Declare `async def run(task: Task, input: I) -> O` to be a workflow. Its awaits survive any crash.

    Input and output are sent as JSON, by their annotations. While tasks of an old version are open, keep that
    version in the app next to the new one: `@workflow(name="book_trip", version=2)`. `budget` limits the US
    dollars and tokens that each task may use.

    If the workflow raises an exception, its task fails. If the exception's class is in `bugs`, the task is
    parked instead, and continues when the corrected code is deployed.

    Raises `BadInput` if the function is not async, or does not take a Task and at most one input.
    """

    def declare(function: Callable[..., Awaitable[Any]]) -> Workflow[Any, Any]:
        if not inspect.iscoroutinefunction(function):
            raise BadInput(f"workflow {function.__name__!r} must be an async function")
        if not _takes_a_task(function):
            raise BadInput(f"workflow {function.__name__!r} must take a Task and at most one input")
        check_bugs(function.__name__, bugs)
        return Workflow(function, name or function.__name__, version, budget, bugs)

    return declare(function) if function is not None else declare


def _takes_a_task(function: Callable[..., Any]) -> bool:
    """Return whether the first parameter may be a Task; annotations may be missing, or can't be evaluated
    yet."""
    annotations = [parameter.annotation for parameter in inspect.signature(function).parameters.values()]
    if len(annotations) not in (1, 2):
        return False
    first = annotations[0]
    return not isinstance(first, type) or first is inspect.Parameter.empty or issubclass(Task, first)


def check(function: Callable[Concatenate[T, P], Any], /) -> Check[T, P]:
    """Declare `def only_known(output: Ranking, known: list[str]) -> None` to be a check. It may be async.

    It runs in the check stage, and its arguments are sent there as JSON. It accepts the output by returning,
    and rejects it by raising `OutputRejected`. Call it with its arguments, except the output, to use it:
    `task.model("rank", …, output=Ranking, check=only_known(known=ids))`.
    """
    return Check(function, function.__name__)
