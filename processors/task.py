"""What a workflow sees of its task: the awaits that survive any crash.

Every await is a step: a call of a model or a tool, a question to a person, a signal, a child task, a timer.
Use `asyncio.gather`, `TaskGroup`, `timeout` and `sleep` as always; take time and randomness from the task, so
that playing the workflow again gives the same.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import TYPE_CHECKING, Any, Generic, Literal, ParamSpec, TypeVar, cast, overload

from pydantic import TypeAdapter
from pydantic_core import to_jsonable_python

from processors.openapi import OpenApiTool
from processors.routes import McpTool, ModelRoute, Tool, ToolRoute
from processors.step import Step, reader
from topics.errors import BadInput, StepError
from topics.records import (
    CallModel,
    CallTool,
    CancelRequested,
    CheckCall,
    Option,
    Parent,
    Problem,
    Question,
    Record,
    Submitted,
)
from topics.trusted import trusted

if TYPE_CHECKING:
    from random import Random

    from processors.app import Workflow
    from processors.performance import Performance

P = ParamSpec("P")
T = TypeVar("T")
R = TypeVar("R")
D = TypeVar("D")
_NOBODY: Any = object()
"""No `otherwise` was given."""


@dataclass(frozen=True)
class BoundCheck(Generic[T]):
    """A check with the arguments that it gets beside the output; made by calling a `@check`."""

    name: str
    arguments: Mapping[str, Any] = field(default_factory=dict[str, Any])


class Task:
    """One run of a workflow. Made by Segue, never by hand."""

    def __init__(self, performance: "Performance") -> None:
        self._performance = performance
        self.random: Random = performance.entropy(performance.task_id)
        """The task's own source of randomness, the same whenever the task is played again."""

    @property
    def id(self) -> str:
        return self._performance.task_id

    def now(self) -> datetime:
        """The time of the last thing that happened to this task, in UTC."""
        return datetime.fromtimestamp(self._performance.now_ms / 1000, UTC)

    def uuid(self) -> str:
        """A random UUID (RFC 9562, version 4) from the task's own randomness."""
        bits = f"{self.random.getrandbits(128):032x}"
        variant = "89ab"[int(bits[16], 16) % 4]
        return f"{bits[:8]}-{bits[8:12]}-4{bits[13:16]}-{variant}{bits[17:20]}-{bits[20:]}"

    # ------------------------------------------------------------ calls

    @overload
    async def tool(self, target: Tool[P, R], /, *args: P.args, **kwargs: P.kwargs) -> R: ...
    @overload
    async def tool(self, target: ToolRoute[R], /, **arguments: Any) -> R: ...
    @overload
    async def tool(self, target: McpTool | OpenApiTool | str, /, **arguments: Any) -> Any: ...
    async def tool(self, target: Any, /, *args: Any, **kwargs: Any) -> Any:
        """Call a tool, or whichever tool of a route answers. Raises `StepError` when the route gives up."""
        route = self._performance.app.tool_route(target if isinstance(target, str) else target.name)
        arguments = target.arguments(args, kwargs) if isinstance(target, Tool) else to_jsonable_python(kwargs)
        step = self._performance.step("tool", route.name, arguments)
        step.accept = route.accept
        call = trusted(CallTool, **self._call(step, ()), arguments=arguments)
        self._performance.publish("tool-calls", call)
        return await step.future

    @overload
    async def model(
        self,
        route: ModelRoute | str,
        prompt: Any,
        /,
        *,
        output: type[T],
        instructions: str | None = None,
        check: BoundCheck[T] | Iterable[BoundCheck[T]] = (),
    ) -> T: ...
    @overload
    async def model(
        self,
        route: ModelRoute | str,
        prompt: Any,
        /,
        *,
        instructions: str | None = None,
        check: BoundCheck[str] | Iterable[BoundCheck[str]] = (),
    ) -> str: ...
    async def model(
        self,
        route: ModelRoute | str,
        prompt: Any,
        /,
        *,
        output: Any = str,
        instructions: str | None = None,
        check: Any = (),
    ) -> Any:
        """Ask whichever model of the route answers; `prompt` is text or any value that becomes JSON.

        An answer that is no `output`, or that a `check` refuses, goes back to the model with the reason.
        Raises `StepError` when the route gives up.
        """
        name = self._performance.app.model_route(route if isinstance(route, str) else route.name).name
        prompt = to_jsonable_python(prompt)
        checks: list[BoundCheck[Any]] = [check] if isinstance(check, BoundCheck) else list(check)
        bound = tuple(CheckCall(name=c.name, arguments=to_jsonable_python(dict(c.arguments))) for c in checks)
        for each in bound:
            self._performance.app.check(each.name)
        step = self._performance.step("model", name, [prompt, instructions, bound])
        step.accept, schema = (None, None) if output is str else _shape(output)
        call = CallModel(**self._call(step, bound), prompt=prompt, instructions=instructions, output=schema)
        step.call = call
        self._performance.publish("model-calls", call)
        return await step.future

    def _call(self, step: Step, checks: tuple[CheckCall, ...]) -> dict[str, Any]:
        return {
            "task": self.id,
            "step": step.number,
            "print": step.print,
            "workflow": self._performance.submitted.workflow,
            "route": step.name,
            "checks": checks,
            "at_ms": self._performance.now_ms,
        }

    # ------------------------------------------------------------ people, signals, time

    @overload
    async def ask(
        self, to: str, text: str, *, options: Mapping[str, T], within: timedelta | None = None
    ) -> T: ...
    @overload
    async def ask(
        self, to: str, text: str, *, options: Mapping[str, T], within: timedelta, otherwise: D
    ) -> T | D: ...
    @overload
    async def ask(
        self,
        to: str,
        text: str,
        *,
        options: Mapping[str, T],
        answer: type[R],
        within: timedelta | None = None,
    ) -> T | R: ...
    @overload
    async def ask(
        self,
        to: str,
        text: str,
        *,
        options: Mapping[str, T],
        answer: type[R],
        within: timedelta,
        otherwise: D,
    ) -> T | R | D: ...
    @overload
    async def ask(self, to: str, text: str, *, answer: type[T], within: timedelta | None = None) -> T: ...
    @overload
    async def ask(self, to: str, text: str, *, answer: type[T], within: timedelta, otherwise: D) -> T | D: ...
    @overload
    async def ask(self, to: str, text: str, *, within: timedelta | None = None) -> str: ...
    @overload
    async def ask(self, to: str, text: str, *, within: timedelta, otherwise: D) -> str | D: ...
    async def ask(
        self,
        to: str,
        text: str,
        *,
        options: Mapping[str, Any] | None = None,
        answer: Any = None,
        within: timedelta | None = None,
        otherwise: Any = _NOBODY,
    ) -> Any:
        """Ask a person and wait, however long: for one of `options` (label to value), or for any `answer`.

        With both, for an option or something else of that type: "send it", "discard it", or a note.

        After `within` the question closes and `otherwise` is the answer; without one a `StepError` is raised.
        """
        step = self._question(to, text, options, answer, within)
        try:
            async with asyncio.timeout(within.total_seconds() if within else None):
                return await step.future
        except TimeoutError:
            self._performance.close_question(step, "expired")
            if otherwise is not _NOBODY:
                return otherwise
            problem = Problem(type="Unanswered", message=f"nobody answered within {within}", retryable=False)
            raise StepError(to, step.number, problem) from None
        finally:
            self._performance.close_question(step, "ended")

    def _question(
        self, to: str, text: str, options: Mapping[str, Any] | None, answer: Any, within: timedelta | None
    ) -> Step:
        if options is not None and not options:
            raise BadInput(f"ask({to!r}): there are no options to choose from")
        performance = self._performance
        offered = tuple(Option(label=k, value=to_jsonable_python(v)) for k, v in (options or {}).items())
        step = performance.step("ask", to, [text, offered])
        step.accept, schema = _answer(offered, options, answer)
        step.question = Question(
            task=self.id,
            step=step.number,
            workflow=performance.submitted.workflow,
            to=to,
            text=text,
            options=offered,
            answer=schema,
            closes_at_ms=performance.now_ms + round(within.total_seconds() * 1000) if within else None,
            at_ms=performance.now_ms,
        )
        performance.questions[step.number] = step
        performance.publish("questions", step.question)
        return step

    @overload
    async def signal(self, name: str, /) -> Any: ...
    @overload
    async def signal(self, name: str, value: type[T], /) -> T: ...
    async def signal(self, name: str, value: Any = object, /) -> Any:
        """The next outside event of that name, of that type, in the order in which they came; each once."""
        step = self._performance.step("signal", name, None)
        self._performance.expect_signal(step)
        given = await step.future
        accept, _ = _shape(value)
        return accept(given) if accept else given

    async def sleep(self, how_long: timedelta | float) -> None:
        """Sleep so many seconds, through any crash. `asyncio.sleep` is the same."""
        await asyncio.sleep(how_long.total_seconds() if isinstance(how_long, timedelta) else how_long)

    async def sleep_until(self, when: datetime) -> None:
        """Sleep until that time, which must have a time zone; a time that has passed returns at once."""
        if when.tzinfo is None:
            raise BadInput(f"sleep_until needs a time zone: {when.isoformat()} could be anywhere")
        await asyncio.sleep(max((when - self.now()).total_seconds(), 0.0))

    # ------------------------------------------------------------ several at once

    async def child(self, workflow: "Workflow[Any, R]", value: Any = None) -> R:
        """Run a task of another workflow and wait for its result. Cancelling the wait cancels the child."""
        performance = self._performance
        performance.app.workflow(workflow.name, workflow.version)
        value = to_jsonable_python(value)
        step = performance.step("child", workflow.name, [workflow.version, value])
        step.accept = reader(workflow.output)
        child = f"{self.id}/{step.number}"
        submitted = Submitted(
            task=child,
            workflow=workflow.name,
            version=workflow.version,
            input=value,
            tenant=performance.submitted.tenant,
            priority=performance.submitted.priority,
            steps_max=performance.submitted.steps_max,
            open_steps_max=performance.submitted.open_steps_max,
            parent=Parent(task=self.id, step=step.number, print=step.print),
            at_ms=performance.now_ms,
        )
        performance.publish("events", submitted, child)
        try:
            return cast("R", await step.future)
        except asyncio.CancelledError:
            performance.publish("events", _cancel(child, self.id, performance.now_ms), child)
            raise

    @overload
    async def gather(self, *steps: Awaitable[T], failures: Literal["raise"] = "raise") -> list[T]: ...
    @overload
    async def gather(self, *steps: Awaitable[T], failures: Literal["return"]) -> list[T | StepError]: ...
    async def gather(
        self, *steps: Awaitable[Any], failures: Literal["raise", "return"] = "raise"
    ) -> list[Any]:
        """`asyncio.gather`, or with `failures="return"` each step's result or its `StepError`, in order."""
        if failures == "raise":
            return list(await asyncio.gather(*steps))
        return list(await asyncio.gather(*map(_or_failure, steps)))


async def _or_failure(step: Awaitable[T]) -> T | StepError:
    try:
        return await step
    except StepError as failed:
        return failed


@cache
def _shape(output: Any) -> tuple[Callable[[Any], Any] | None, dict[str, Any]]:
    """What reads a JSON value as that type, and the JSON schema that says so."""
    adapter: TypeAdapter[Any] = TypeAdapter(Any if output is object else output)
    return reader(adapter), adapter.json_schema()


def _as_it_is(value: Any) -> Any:
    return value


def _answer(
    offered: tuple[Option, ...], options: Mapping[str, Any] | None, answer: Any
) -> tuple[Callable[[Any], Any], dict[str, Any] | None]:
    """What reads an answer, and the JSON schema of one that is no option, where there may be such."""
    if options and answer is None:
        return _choice(offered, list(options.values())), None
    accept, schema = _shape(str if answer is None else answer)
    accept = accept or _as_it_is
    return (_choice(offered, list(options.values()), accept) if options else accept), schema


def _choice(
    options: tuple[Option, ...], values: list[Any], other: Callable[[Any], Any] | None = None
) -> Callable[[Any], Any]:
    """One of the options, by its value or by its label; what is none of them goes to `other`."""

    def choose(answer: Any) -> Any:
        for option, value in zip(options, values, strict=True):
            if answer in (option.value, option.label):
                return value
        if other is not None:
            return other(answer)
        raise BadInput(f"{answer!r} is none of the options: {', '.join(option.label for option in options)}")

    return choose


def _cancel(child: str, parent: str, now_ms: int) -> Record:
    reason = f"its parent {parent!r} no longer waits for it"
    return CancelRequested(task=child, id=f"{child}/cancel", reason=reason, at_ms=now_ms)
