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
    """Makes a workflow of a function, with what was said of it."""

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
    """Declare `async def run(task: Task, input: I) -> O` to be a workflow: its awaits survive any crash.

    Input and output travel as JSON, by their annotations. Keep an old version beside the new one while
    tasks of it are open: `@workflow(name="book_trip", version=2)`. What a task of it may use: `budget`.

    Of an exception that it does not catch a task fails; of one in `bugs` it waits for mended code.
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
    """As far as can be seen: annotations may be missing, or not be looked up yet."""
    annotations = [parameter.annotation for parameter in inspect.signature(function).parameters.values()]
    if len(annotations) not in (1, 2):
        return False
    first = annotations[0]
    return not isinstance(first, type) or first is inspect.Parameter.empty or issubclass(Task, first)


def check(function: Callable[Concatenate[T, P], Any], /) -> Check[T, P]:
    """Declare `def only_known(output: Ranking, known: list[str]) -> None` to be a check (async if you like).

    It runs in the check stage, where its arguments arrive as JSON. Use it with them:
    `task.model("rank", …, output=Ranking, check=only_known(known=ids))`.
    """
    return Check(function, function.__name__)
