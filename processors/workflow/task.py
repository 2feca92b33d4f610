"""The `Task` that a workflow gets: its awaits survive any crash.

Every await is a step: a call of a model or a tool, a question to a person, a signal, a child task, a timer.
Use `asyncio.gather`, `TaskGroup`, `timeout` and `sleep` as usual. Take the time and random values from the
task, so that a replay of the workflow gives the same values.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping
from contextvars import ContextVar
from datetime import datetime, timedelta
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal, NoReturn, ParamSpec, TypeVar, cast, overload
from weakref import ref

from segue.processors.definitions.checks import BoundCheck
from segue.processors.definitions.workflow import Workflow
from segue.processors.durations import rounded_up_ms
from segue.processors.payloads.fingerprint import fingerprint, fits, jsonable
from segue.processors.payloads.truncation import cut_to
from segue.processors.payloads.type_adapters import accept
from segue.processors.routing.budget import strictest
from segue.processors.routing.mcp import McpTool
from segue.processors.routing.openapi import OpenApiTool
from segue.processors.routing.routes import ModelRoute, ToolRoute
from segue.processors.routing.tools import Tool
from segue.processors.workflow.answers import answer_of, shape_of
from segue.processors.workflow.budget_guard import within_budget
from segue.processors.workflow.completion import ContinueAsNew
from segue.processors.workflow.context import ExecutionContext
from segue.processors.workflow.continue_as_new import called_off
from segue.processors.workflow.misuse import (
    Asking,
    bounded_repr,
    check_id,
    check_model,
    check_moment,
    check_options,
    check_steps,
    check_text,
    check_version,
    check_within,
    seconds_of,
    wrong,
)
from segue.processors.workflow.questions import close_question, open_question
from segue.processors.workflow.saga import CURRENT, PendingUndo, Saga, owed_for
from segue.processors.workflow.signal_delivery import expect
from segue.processors.workflow.state.step import Step
from segue.processors.workflow.task_log import TaskLog
from segue.topics.codec import json_of
from segue.topics.descriptions import shortened
from segue.topics.errors import BadInput, StepError, leaves
from segue.topics.parts import ABSENT
from segue.topics.records import (
    CallModel,
    CallTool,
    CheckCall,
    Option,
    Parent,
    Problem,
    Submitted,
)
from segue.topics.trusted import trusted

if TYPE_CHECKING:
    from random import Random


P = ParamSpec("P")
T = TypeVar("T")
R = TypeVar("R")
D = TypeVar("D")
_NOBODY: Any = object()
"""No `default` was given."""

QUESTION_CHARS_MAX = 10_000
"""Characters that the text of a question may have. The status of a task holds all of its questions."""

VIEW_BYTES_MAX = 16_384
"""The size of a view in bytes of JSON. A list of tasks reads the views of all tasks."""


class Task:
    """One run of a workflow. Segue creates it and passes it to the workflow; do not create one yourself."""

    def __init__(self, context: ExecutionContext) -> None:
        self._context = context
        self._saga: Callable[[], Saga | None] = _no_saga
        """A function that returns the task's own saga, which the task's coroutine keeps."""

    @property
    def id(self) -> str:
        return self._context.task_id

    def now(self) -> datetime:
        """The time of the last event of this task, in UTC. It is the same in each replay."""
        return self._context.now()

    @cached_property
    def log(self) -> TaskLog:
        """A logger for the workflow. It is silent while the task is rebuilt, so each line is written once."""
        context = self._context
        return TaskLog(self.id, context.submitted.workflow, lambda: context.silent)

    @cached_property
    def random(self) -> "Random":
        """The task's own source of randomness, the same whenever the task is played again."""
        return self._context.random_for()

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
        """Call a tool, or the tools of a route in turn until one of them answers, and return the result.

        Raises `StepError` when the route gives up.

        A tool or route that has an `undo` is undone if the task fails, or the `saga` that it is called in.
        """
        bound = _bound("task.tool(…)", target, args, kwargs)
        with Asking("a tool"):
            name, arguments = _called(target, bound)
            undo = self._undo_of(target)
            step = self._ask_tool(name, arguments)
        if undo is None:
            return await step.future
        self._innermost().add(owed_for(step, undo))
        return await asyncio.shield(step.future)  # cancelled, its outcome still decides what is undone

    def _ask_tool(self, name: str, arguments: dict[str, Any], undoes: int | None = None) -> Step:
        route = self._context.registry.tool_route(name)
        step = self._context.step("tool", route.name, arguments)
        step.accept = route.accept
        call = trusted(CallTool, **self._context.facts_of(step), arguments=arguments, undoes=undoes)
        self._context.command("tool-calls", step, call)
        return step

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
        stream: bool | None = None,
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
        stream: bool | None = None,
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
        stream: bool | None = None,
    ) -> Any:
        """Ask the models of a route in turn until one of them answers, and return the answer.

        `prompt` is text or any value that JSON can hold.

        If an answer does not have the type `output`, or a `check` rejects it, the model is asked again and
        gets the reason. With `stream=True`, `segue watch` shows the model's text while the model writes it;
        the default is the route's setting. Raises `StepError` when the route gives up.
        """
        with Asking("a model"):
            found = self._context.registry.model_route(_name_of("task.model(…)", route, ModelRoute))
            name, stream = found.name, found.stream if stream is None else stream
            check_model("task.model(…)", instructions, stream)
            prompt = jsonable(prompt)
            bound = tuple(self._bound(each) for each in _several(check))
            accept, schema = (None, None) if output is str else shape_of(output)

        def asked() -> Step:
            step = self._context.step("model", name, [prompt, instructions, bound])
            step.accept = accept
            call = CallModel(
                **self._context.facts_of(step),
                checks=bound,
                prompt=prompt,
                instructions=instructions,
                output=schema,
                stream=stream,
            )
            step.call = self._context.command("model-calls", step, call)
            return step

        return await within_budget(self._context, name, asked)

    def _bound(self, check: Any) -> CheckCall:
        """Return the check with its arguments. The app must declare the checks and routes that it names."""
        if not isinstance(check, BoundCheck):
            name = getattr(check, "name", None) or bounded_repr(check)
            raise BadInput(f"check={name}: call it, {name}(…), with all its arguments except the output")
        app = self._context.registry
        judge = app.model_route(check.judge).name if check.judge is not None else None
        if judge is not None:
            return CheckCall(name=check.name, arguments=jsonable(dict(check.arguments)), judge=judge)
        declared = app.check(check.name)
        return CheckCall(name=declared.name, arguments=declared.arguments(check.arguments))

    # ------------------------------------------------------------ what is shown, and going on anew

    def set_view(self, view: Any) -> None:
        """Show a value to people: `segue show`, `segue tasks` and the task's `Status` display it.

        The value replaces the previous view. Setting a view is not a step, and nothing waits for it. If the
        value is larger than 16 KiB, long texts and lists in it are cut off, with a mark.
        """
        with Asking("a view"):
            value = jsonable(view)
            json_of(value)
        self._context.view = cut_to(value, VIEW_BYTES_MAX)

    def continue_as_new(self, value: Any = ABSENT, /, *, version: int | None = None) -> NoReturn:
        """End this run and begin a new run of the same task with that input. For tasks that do not end. Does
        not return.

        The new run has an empty journal, and limits count from 0 again. Signals that the task has not
        received yet are passed to the new run. Open questions, calls and children end: see
        `workflow.continue_as_new`. With `version` the new run uses another version of the workflow.
        """
        context = self._context
        if not context.steps.any_settled:
            raise BadInput(
                "task.continue_as_new(…) was called before the workflow awaited a step, so it would "
                "repeat without end: await a step first"
            )
        check_version("task.continue_as_new(…)", version)
        submitted = context.submitted
        workflow = context.registry.workflow(
            submitted.workflow, submitted.version if version is None else version
        )
        value = workflow.recorded(value)
        most = context.large.held_bytes_max
        place = f"again {fingerprint('again', workflow.name, value, most)}"
        try:
            value = context.verdicts.of(place, workflow.validate, value)
        except BadInput as error:
            raise BadInput(
                f"task.continue_as_new(…): workflow {workflow.name!r} can't take this input: {error}"
            ) from None
        fits("again", workflow.name, value, most)
        raise ContinueAsNew(value, workflow.version)

    # ------------------------------------------------------------ what is undone

    def saga(self) -> Saga:
        """Return a saga: `async with task.saga():` undoes its steps if an exception leaves the block.

        The steps are undone before the exception is raised further.
        """
        saga = Saga(self._context, self._ask_tool, CURRENT.get(self._saga()))
        if self._saga is _no_saga:
            self._saga = ref(saga)
        return saga

    @overload
    def undo_by(self, target: Tool[P, Any], /, *args: P.args, **kwargs: P.kwargs) -> None: ...
    @overload
    def undo_by(self, target: ToolRoute[Any] | str, /, **arguments: Any) -> None: ...
    def undo_by(self, target: Any, /, *args: Any, **kwargs: Any) -> None:
        """Call that tool with these arguments if the task, or the `saga` around this call, fails later."""
        bound = _bound("task.undo_by(…)", target, args, kwargs)
        with Asking("an undo"):
            name, arguments = _called(target, bound)
            fits("undo", name, arguments, self._context.large.held_bytes_max)
        self._context.registry.tool_route(name)
        context = self._context
        last = context.steps.first + max(len(context.steps) - 1, 0)
        self._innermost().add(PendingUndo(name, last, lambda _: arguments))

    def _undo_of(self, target: Any) -> Tool[..., Any] | None:
        app = self._context.registry
        name = target if isinstance(target, str) else target.name
        lone = isinstance(target, str | McpTool | OpenApiTool)
        declared: Any = app.tool_route(name) if lone else target
        undo: Tool[..., Any] | None = declared.undo
        if undo is not None:
            app.tool_route(undo.name)  # raises now if it is not there, rather than when it is needed
        return undo

    def _innermost(self) -> Saga:
        saga = CURRENT.get(self._saga())
        assert saga is not None
        return saga

    # ------------------------------------------------------------ people, signals, time

    @overload
    async def ask(
        self, to: str, text: str, *, options: Mapping[str, T], timeout: timedelta | None = None
    ) -> T: ...
    @overload
    async def ask(
        self, to: str, text: str, *, options: Mapping[str, T], timeout: timedelta, default: D
    ) -> T | D: ...
    @overload
    async def ask(
        self,
        to: str,
        text: str,
        *,
        options: Mapping[str, T],
        answer: type[R],
        timeout: timedelta | None = None,
    ) -> T | R: ...
    @overload
    async def ask(
        self,
        to: str,
        text: str,
        *,
        options: Mapping[str, T],
        answer: type[R],
        timeout: timedelta,
        default: D,
    ) -> T | R | D: ...
    @overload
    async def ask(self, to: str, text: str, *, answer: type[T], timeout: timedelta | None = None) -> T: ...
    @overload
    async def ask(self, to: str, text: str, *, answer: type[T], timeout: timedelta, default: D) -> T | D: ...
    @overload
    async def ask(self, to: str, text: str, *, timeout: timedelta | None = None) -> str: ...
    @overload
    async def ask(self, to: str, text: str, *, timeout: timedelta, default: D) -> str | D: ...
    async def ask(
        self,
        to: str,
        text: str,
        *,
        options: Mapping[str, Any] | None = None,
        answer: Any = None,
        timeout: timedelta | None = None,
        default: Any = _NOBODY,
    ) -> Any:
        """Ask a person, and wait until the person answers. Return the answer.

        The answer is the value of one of `options` (label to value), or any value of the type `answer`.

        With both, it is an option or any other value of that type, for example "send it", "discard it", or a
        note.

        After `timeout` the question closes, and `default` is the answer. Raises `StepError` if there is no
        `default`.
        """
        step = self._question(to, text, options, answer, timeout)
        try:
            async with asyncio.timeout(None) as deadline:
                if timeout is not None:
                    with self._context.steps.closing(step):
                        deadline.reschedule(self._context.loop.time() + timeout.total_seconds())
                return await step.future
        except TimeoutError:
            close_question(self._context, step, "expired")
            if default is not _NOBODY:
                return default
            problem = Problem(type="Unanswered", message=f"nobody answered within {timeout}", retryable=False)
            raise StepError(to, step.number, problem) from None
        finally:
            close_question(self._context, step, "ended")

    def _question(
        self, to: str, text: str, options: Mapping[str, Any] | None, answer: Any, timeout: timedelta | None
    ) -> Step:
        where = f"ask({bounded_repr(to)})"
        check_text("task.ask(to, …): whom to ask", to)
        check_text(f"{where}: what to ask", text)
        check_options(where, options)
        check_within(where, timeout)
        context = self._context
        text = text if len(text) <= QUESTION_CHARS_MAX else shortened(text, QUESTION_CHARS_MAX)
        with Asking("a question"):
            offered = tuple(Option(label=k, value=jsonable(v)) for k, v in (options or {}).items())
            accept, schema = answer_of(offered, options, answer)
            step = context.step("ask", to, [text, offered])
        step.accept = accept
        closes_at_ms = None if timeout is None else context.now_ms + rounded_up_ms(timeout)
        open_question(context, step, to, text, options=offered, answer=schema, closes_at_ms=closes_at_ms)
        return step

    @overload
    async def signal(self, name: str, /) -> Any: ...
    @overload
    async def signal(self, name: str, value: type[T], /) -> T: ...
    async def signal(self, name: str, value: Any = object, /) -> Any:
        """Wait for the next outside event of that name, and return its value as that type.

        Events are returned in the order in which they came, each of them once.

        An event that does not have that type becomes a dead letter, and the task waits for the next one.
        """
        check_text("task.signal(…)", name)
        with Asking("a signal"):
            accept, _ = shape_of(value)
            step = self._context.step("signal", name, None)
        step.accept = accept
        expect(self._context, step)
        return await step.future

    async def sleep(self, how_long: timedelta | float) -> None:
        """Sleep for that many seconds, or for a timedelta, even if workers crash. `asyncio.sleep` does the
        same."""
        await asyncio.sleep(seconds_of(how_long))

    async def sleep_until(self, when: datetime) -> None:
        """Sleep until that time, which must have a time zone. Return at once if the time has passed."""
        check_moment(when)
        await asyncio.sleep(rounded_up_ms(when - self.now()) / 1000)

    # ------------------------------------------------------------ several at once

    @overload
    async def child(self, workflow: Workflow[Any, R], value: Any = ..., *, id: str | None = None) -> R: ...
    @overload
    async def child(
        self,
        workflow: str,
        value: Any = ...,
        *,
        id: str | None = None,
        version: int | None = None,
    ) -> Any: ...
    async def child(
        self,
        workflow: Any,
        value: Any = ABSENT,
        *,
        id: str | None = None,  # noqa: A002
        version: int | None = None,
    ) -> Any:
        """Run a task of another workflow and wait for its result. Cancelling the wait cancels the child.

        `id` is the child's id. Without it, the id is made of the parent's id and the number of the step.
        """
        step = self._begin_child(workflow, value, id, version, waits=True)
        assert step.child is not None
        try:
            return await step.future
        except asyncio.CancelledError:
            context = self._context
            off = called_off(step.child, self.id, context.now_ms)
            context.publish("events", off, step.child)
            raise

    def start(
        self,
        workflow: Workflow[Any, Any] | str,
        value: Any = ABSENT,
        *,
        id: str | None = None,  # noqa: A002
        version: int | None = None,
    ) -> str:
        """Start an independent task, and return its id. This task does not wait for it and may end before it.

        You may give an `id`. Two starts with the same id start one task.
        """
        step = self._begin_child(workflow, value, id, version, waits=False)
        self._context.steps.settle(step)
        return step.child or ""

    def _begin_child(
        self,
        workflow: Workflow[Any, Any] | str,
        value: Any,
        known_as: str | None,
        version: int | None,
        *,
        waits: bool,
    ) -> Step:
        context, submitted = self._context, self._context.submitted
        where = "task.child(…)" if waits else "task.start(…)"
        check_id(where, known_as, self.id)
        check_version(where, version)
        if not isinstance(workflow, str):
            version = getattr(workflow, "version", version)
        name = _name_of(where, workflow, Workflow)
        declared = context.registry.workflow(name, version)
        with Asking("a child"):
            value = declared.recorded(value)
        step = context.step(
            "child", name, [declared.version, value, *([] if known_as is None else [known_as])]
        )
        step.accept = accept(declared.output, validated=True)
        step.child = f"{self.id}/{step.number}" if known_as is None else known_as
        facts = submitted.model_dump(include={"tenant", "priority", "steps_max", "pending_steps_max"})
        child = Submitted(
            **facts,
            task=step.child,
            workflow=name,
            version=declared.version,
            input=value,
            budget=strictest(context.budget_account.left, declared.budget),
            parent=Parent(task=self.id, step=step.number, fingerprint=step.fingerprint) if waits else None,
            at_ms=context.now_ms,
        )
        context.command("events", step, child, step.child)
        return step

    @overload
    async def gather(self, *steps: Awaitable[T], failures: Literal["raise"] = "raise") -> list[T]: ...
    @overload
    async def gather(self, *steps: Awaitable[T], failures: Literal["return"]) -> list[T | StepError]: ...
    async def gather(
        self, *steps: Awaitable[Any], failures: Literal["raise", "return"] = "raise"
    ) -> list[Any]:
        """Await steps at the same time, and return their results in order, as `asyncio.gather` does.

        With `failures="return"` a step that failed gives its `StepError` in place of its result.
        """
        check_steps(steps, failures)
        if failures == "raise":
            return list(await asyncio.gather(*steps))
        return list(await asyncio.gather(*map(_or_failure, steps)))


def _bound(where: str, target: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> dict[str, Any]:
    """Return the arguments by name. Raises `TypeError` when a call of the tool's function would."""
    if isinstance(target, Tool):
        return cast("Tool[..., Any]", target).bound(args, kwargs)
    if args:
        raise BadInput(
            f"{where}: the arguments of a route have no order: pass {bounded_repr(args[0])} by name"
        )
    return kwargs


def _called(target: Any, bound: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    """Return the named route, and the arguments as JSON."""
    if isinstance(target, Tool):
        declared = cast("Tool[..., Any]", target)
        return declared.name, declared.as_json(bound)
    return _name_of("task.tool(…)", target, ToolRoute, McpTool, OpenApiTool), jsonable(bound)


def _name_of(where: str, target: Any, *kinds: type[Any]) -> str:
    if isinstance(target, str):
        return target
    if not isinstance(target, kinds):
        known = " or ".join(kind.__name__ for kind in kinds)
        declared = "declare a function with @tool or @workflow" if callable(target) else "as the app has it"
        raise wrong(where, f"a {known}, or the name of one ({declared})", target)
    name: str = target.name
    return name


def _several(check: Any) -> Iterable[Any]:
    if isinstance(check, Iterable) and not isinstance(check, str | Mapping):
        return cast("Iterable[object]", check)
    return [check]


def _no_saga() -> None:
    return None


async def _or_failure(step: Awaitable[T]) -> T | StepError:
    try:
        return await step
    except StepError as failed:
        return failed
    except ExceptionGroup as group:  # pyright: ignore[reportUnknownVariableType]
        failures = [each for each in leaves(group) if isinstance(each, StepError)]
        if len(failures) != sum(1 for _ in leaves(group)):
            raise
        for other in failures[1:]:
            failures[0].add_note(str(other))
        return failures[0]


CURRENT_TASK: ContextVar[Task] = ContextVar("segue_task")
"""Set in a workflow's coroutine and in the coroutines that it starts."""
