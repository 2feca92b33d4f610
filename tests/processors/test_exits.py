"""What user code raises ends what it was called for, and no worker: exits and interrupts as well."""

import asyncio
import signal
from collections.abc import Callable, Coroutine
from typing import Annotated, Any

import pytest
from pydantic import AfterValidator, BaseModel, Field, PlainSerializer

from segue import App, ModelRoute, StepError, Task, check, tool, workflow
from tests.driver import Driver


class Own(BaseException):
    pass


KINDS: list[type[BaseException]] = [
    *(KeyboardInterrupt, SystemExit, GeneratorExit, asyncio.CancelledError, Own, StopIteration),
    *(StopAsyncIteration, MemoryError, RecursionError),
]

raised: list[BaseException] = []
"""What the code of these tests raises now."""


@pytest.fixture(params=[*KINDS, BaseExceptionGroup], ids=lambda kind: kind.__name__)
def kind(request: pytest.FixtureRequest) -> type[BaseException]:
    kind: type[BaseException] = request.param
    error = (
        BaseExceptionGroup("several", [Own("x"), Own("y")]) if kind is BaseExceptionGroup else kind("boom")
    )
    raised[:] = [error]
    return kind


def boom(*_: Any) -> Any:
    raise raised[0].with_traceback(None)


def boom_at(_: Any) -> Any:
    boom()


def boom_without() -> Any:
    boom()


# ---------------------------------------------------------------- tools, checks, choosers


@tool(retries=0)
async def awaited(n: int) -> int:
    boom()
    return n


@tool(retries=0)
def threaded(n: int) -> int:
    boom()
    return n


@tool(retries=0, local=True)
async def local(n: int) -> int:
    boom()
    return n


@tool(retries=0)
async def in_a_task(n: int) -> int:
    async with asyncio.timeout(5):
        await asyncio.sleep(0)
        return await asyncio.create_task(_boom())


async def _boom() -> int:
    boom()
    return 0


class Input(BaseModel):
    at: Annotated[int, AfterValidator(boom_at)] = 3


class Made(BaseModel):
    at: int = Field(default_factory=boom_without)


class Written(BaseModel):
    at: Annotated[int, PlainSerializer(boom_at)] = 3


@tool(retries=0)
async def takes(given: Input) -> int:
    return 1


@tool(retries=0)
async def makes(n: int) -> Made:
    return Made.model_construct()


@tool(retries=0)
async def writes(n: int) -> Written:
    return Written.model_construct(at=3)


@tool
async def undo_it() -> None:
    boom()


@tool(undo=undo_it)
async def done(n: int) -> int:
    return n


@check
def refuses(output: str) -> None:
    boom()


@check
async def refuses_later(output: str) -> None:
    boom()


APP_TOOLS: list[Any] = [awaited, threaded, local, in_a_task, takes, makes, writes, undo_it, done]


def outcome(run: Callable[[Task], Coroutine[Any, Any, Any]], **options: Any) -> Driver:
    @workflow(name="w")
    async def w(task: Task) -> Any:
        return await run(task)

    routes = [
        ModelRoute("says", ["a"]),
        ModelRoute("chosen", ["a", "b"], choose=boom),
    ]
    app = App("x", workflows=[w], tools=APP_TOOLS, routes=routes, checks=[refuses, refuses_later])
    played = Driver(app, {"says": lambda _: "text", "chosen": lambda _: "text", **options})
    played.submit("w")
    played.run()
    return played


CALLS: dict[str, Callable[[Task], Coroutine[Any, Any, Any]]] = {
    "tool": lambda task: task.tool(awaited, 1),
    "tool in a thread": lambda task: task.tool(threaded, 1),
    "local tool": lambda task: task.tool(local, 1),
    "task of a tool": lambda task: task.tool(in_a_task, 1),
    "validator of an argument": lambda task: task.tool("takes", given={"at": 3}),
    "default of a result": lambda task: task.tool(makes, 1),
    "serializer of a result": lambda task: task.tool(writes, 1),
    "check": lambda task: task.model("says", "x", check=refuses()),
    "async check": lambda task: task.model("says", "x", check=refuses_later()),
    "chooser": lambda task: task.model("chosen", "x"),
    "model": lambda task: task.model("says", "x"),
}


@pytest.mark.usefixtures("kind")
@pytest.mark.parametrize("where", CALLS)
def test_a_step_fails_by_it(where: str) -> None:
    async def run(task: Task) -> str:
        try:
            await CALLS[where](task)
        except StepError as error:
            return f"told: {error.problem.message}"
        return "nothing"

    options = {"says": boom} if where == "model" else {}
    played = outcome(run, **options)
    assert played.result().outcome == "succeeded"
    assert played.result().result.startswith("told: ")


@pytest.mark.usefixtures("kind")
def test_an_undo_that_fails_by_it_is_told() -> None:
    async def run(task: Task) -> None:
        await task.tool(done, 1)
        raise ValueError("no room")

    result = outcome(run).result()
    assert (result.outcome, len(result.not_undone)) == ("failed", 1)


# ---------------------------------------------------------------- workflows


def ended(played: Driver) -> str:
    """How the task stands, whichever way it is."""
    state: str = played.records("status", "t")[-1].state
    return state


def test_a_workflow_ends_by_it(kind: type[BaseException]) -> None:
    async def run(task: Task) -> None:
        await task.tool(done, 1)
        boom()

    played = outcome(run)
    assert played.ran[1:2] == ([] if kind is RecursionError else ["t/1/1 undo_it"])
    ways: dict[type[BaseException], str] = {asyncio.CancelledError: "cancelled", RecursionError: "parked"}
    assert ended(played) == ways.get(kind, "failed")


@pytest.mark.parametrize("how", [asyncio.gather, asyncio.wait_for, "group", "callback"])
def test_a_task_of_a_workflow_ends_it(how: Any, kind: type[BaseException]) -> None:
    async def run(task: Task) -> None:
        await task.tool(done, 1)
        if how == "group":
            async with asyncio.TaskGroup() as group:
                group.create_task(_boom())
        elif how == "callback":
            asyncio.get_running_loop().call_soon(boom)
            await asyncio.sleep(1)
        else:
            await (asyncio.gather(_boom()) if how is asyncio.gather else asyncio.wait_for(_boom(), 5))

    played = outcome(run)
    assert ended(played) in ("failed", "cancelled", "parked") or how in ("callback", "group")
    assert ended(played) != "failed" or "t/1/1 undo_it" in played.ran, "it is undone"
    played.submit("w", task="u")
    played.run()
    assert played.records("status", "u")


@pytest.mark.usefixtures("kind")
def test_a_workflow_that_is_let_go_may_raise_it() -> None:
    async def run(task: Task) -> str:
        try:
            await task.signal("go")
        except BaseException:
            boom()
            raise
        return "went"

    played = outcome(run)
    played.restart()
    played.produce("signals", {"kind": "signal", "task": "t", "name": "go", "id": "s"})
    played.run()
    assert played.result().result == "went"


# ---------------------------------------------------------------- values from outside


@pytest.mark.usefixtures("kind")
def test_an_input_whose_type_raises_it_is_rejected() -> None:
    @workflow
    async def w(task: Task, given: Input) -> None: ...

    played = Driver(App("x", workflows=[w]))
    played.submit("w", {"at": 1})
    played.run()
    assert played.result().outcome == "rejected"


@pytest.mark.usefixtures("kind")
def test_an_answer_and_a_signal_whose_type_raises_it_are_refused() -> None:
    async def run(task: Task) -> Any:
        return await asyncio.gather(task.ask("boss", "when?", answer=Input), task.signal("go", Input))

    played = outcome(run)
    played.produce("signals", {"kind": "answer", "task": "t", "value": {"at": 1}})
    played.produce("signals", {"kind": "signal", "task": "t", "name": "go", "value": {"at": 1}})
    played.run()
    assert len(played.reasons()) == 2
    assert ended(played) == "waiting"


@pytest.mark.usefixtures("kind")
def test_a_result_whose_type_raises_it_parks_or_fails_its_task() -> None:
    @workflow
    async def w(task: Task) -> Written:
        return Written.model_construct(at=3)

    played = Driver(App("x", workflows=[w]))
    played.submit("w")
    played.run()
    assert ended(played) == "parked"


@pytest.mark.usefixtures("kind")
def test_an_argument_whose_type_raises_it_parks_its_task() -> None:
    @tool
    async def reads(given: Written) -> None: ...

    @workflow
    async def w(task: Task) -> None:
        await task.tool(reads, Written.model_construct(at=3))

    played = Driver(App("x", workflows=[w], tools=[reads]))
    played.submit("w")
    played.run()
    assert ended(played) == "parked"


def test_a_real_ctrl_c_is_told_from_one_that_is_raised() -> None:
    def interrupted() -> None:
        signal.raise_signal(signal.SIGINT)

    async def run(task: Task) -> None:
        interrupted()

    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with pytest.raises(KeyboardInterrupt):
            outcome(run)
    finally:
        signal.signal(signal.SIGINT, before)
