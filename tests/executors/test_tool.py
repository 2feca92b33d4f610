"""Typed Python functions as tools: what they are given, what they may return, what their failures mean."""

import asyncio
import threading
from collections.abc import Iterator, Sequence
from datetime import date
from decimal import Decimal
from enum import Enum
from typing import Any

import pytest
from pydantic import BaseModel

from segue.processors.app.app import App
from segue.processors.app.decorators import workflow
from segue.processors.routing.routes import ToolRoute
from segue.processors.routing.tools import Tool, tool
from segue.processors.stages.attempt import Attempt, current_attempt
from segue.processors.stages.reply import Reply
from segue.processors.workflow.task import Task
from segue.streams.calls.failures import problem_of
from segue.streams.executors import ToolExecutor
from segue.streams.executors.threads import Threads
from segue.topics.errors import BadInput, Retryable
from segue.topics.records import Problem
from tests.executors.calls import call_tool


class Room(Enum):
    SINGLE = "single"


class Stay(BaseModel):
    arrive: date
    nights: int


@tool
async def price(
    stay: Stay, room: Room, per_night: Decimal, *, tags: frozenset[str] = frozenset()
) -> dict[date, Decimal]:
    assert isinstance(stay.arrive, date)
    assert room is Room.SINGLE
    assert isinstance(tags, frozenset)
    return {stay.arrive: per_night * stay.nights}


@tool
async def where() -> Attempt:
    return current_attempt()


@tool
async def anything(value: Any) -> Any:
    return value


@tool
async def wrong() -> list[Stay]:
    return [{"arrive": "soon", "nights": 1}]  # type: ignore[list-item]


@tool
async def no_json() -> Any:
    return object()


@tool
async def busy() -> None:
    raise Retryable("full", retry_after_s=2)


@tool
async def broken() -> int:
    return 1 // int("0")


class Opaque:
    pass


@tool
async def opaque(value: Opaque) -> None: ...


async def call(name: str, arguments: dict[str, Any] | None = None, **changes: Any) -> Reply:
    executor = ToolExecutor(App("test", workflows=[], tools=TOOLS))
    return await executor(call_tool(name, arguments, **changes))


async def problem(name: str, arguments: dict[str, Any] | None = None) -> Problem:
    with pytest.raises(Exception) as failure:  # noqa: PT011 - what it means is compared by the test
        await call(name, arguments)
    return problem_of(failure.value)


async def test_arguments_and_result_travel_as_json_by_their_annotations() -> None:
    arguments = {
        "stay": {"arrive": "2026-10-01", "nights": 3},
        "room": "single",
        "per_night": "99.50",
        "tags": ["quiet"],
    }
    assert await call("price", arguments) == Reply({"2026-10-01": "298.50"}, candidate="price")


async def test_every_wrong_argument_is_named() -> None:
    arguments = {"stay": {"arrive": "soon", "nights": 3}, "room": "single", "color": "red"}
    found = await problem("price", arguments)
    assert (found.type, found.retryable) == ("Permanent", False)
    assert found.message.startswith(
        "tool 'price' can't be called: it takes no argument 'color'; argument 'stay': arrive: "
    )
    assert found.message.endswith("; argument 'per_night' is missing")


async def test_a_tool_knows_which_attempt_it_serves() -> None:
    reply = await asyncio.create_task(call("where", attempt=4))  # each has a task of its own
    known = {"task": "t1", "step": 3, "attempt": 4, "idempotency_key": "t1/3", "undoes": None}
    assert reply.result == known
    with pytest.raises(LookupError):
        current_attempt()


@pytest.mark.parametrize("value", [None, 1, "ä", [1, {"a": None}], {"a": 1.5}])
async def test_a_tool_without_annotations_takes_any_json(value: Any) -> None:
    assert (await call("anything", {"value": value})).result == value


async def test_a_result_that_is_not_as_declared_is_permanent() -> None:
    found = await problem("wrong")
    assert (found.type, found.retryable) == ("Permanent", False)
    assert found.message.startswith("tool 'wrong' returned list, not what it declares: 0.arrive: ")


async def test_a_result_that_has_no_json_is_permanent() -> None:
    found = await problem("no_json")
    assert not found.retryable
    assert found.message.startswith("tool 'no_json' returned object, not what it declares: ")


def test_an_annotation_that_has_no_json_is_refused_where_the_app_is_made() -> None:
    with pytest.raises(BadInput, match=r"test_tool\.opaque: parameter 'value' is annotated"):
        App("a", workflows=[], tools=[opaque])


async def test_what_a_tool_raises_says_what_to_do() -> None:
    assert await problem("busy") == Problem(type="Retryable", message="full", retry_after_s=2)


async def test_what_a_tool_did_not_foresee_shows_its_code_and_not_ours() -> None:
    found = await problem("broken")
    assert (found.type, found.retryable) == ("ZeroDivisionError", True)
    assert found.traceback is not None
    assert "in broken" in found.traceback
    assert "executors/tool.py" not in found.traceback.replace("test_tool.py", "")


async def test_candidates_are_called_by_their_index_and_named() -> None:
    executor = ToolExecutor(App("test", workflows=[], routes=[ToolRoute("r", [busy, anything])]))
    second = call_tool("r", {"value": 1}, candidate_index=1)
    assert (executor.candidate(second), await executor(second)) == ("anything", Reply(1, "anything"))
    gone = call_tool("r", candidate_index=2)
    assert executor.candidate(gone) == "r[2]"
    with pytest.raises(Exception, match="no candidate 2 any more"):
        await executor(gone)


async def test_a_route_that_is_not_here_is_named_and_may_be_elsewhere() -> None:
    found = await problem("nowhere")
    assert (found.type, found.retryable) == ("UnknownName", True)


def test_what_can_be_no_tool_or_workflow_is_refused_by_name() -> None:
    def rooms() -> Iterator[int]:
        yield 3

    none: Any = rooms
    with pytest.raises(
        BadInput, match="tool 'rooms' is a generator, which a tool can't be: return a list, or write a Blob"
    ):
        tool(none)
    with pytest.raises(BadInput, match="tool 'breaks' can't be local, because it is not async"):
        tool(local=True)(breaks.function)
    with pytest.raises(BadInput, match="workflow 'rooms' must be an async function"):
        workflow(none)
    misnamed: dict[str, Any] = {"timeout": 3}
    with pytest.raises(
        BadInput, match=r"tool 'blocking' takes no timeout; it takes name, .* timeout_s, retries"
    ):
        tool(**misnamed)(blocking.function)


async def nothing() -> None: ...


async def no_task(number: int) -> None: ...


async def too_many(task: Task, one: int, two: int) -> None: ...


@pytest.mark.parametrize("function", [nothing, no_task, too_many])
def test_a_workflow_takes_a_task_first(function: Any) -> None:
    with pytest.raises(BadInput, match="must take a Task and at most one input"):
        workflow(function)


# ---------------------------------------------------------------- functions that block


@tool
def blocking(stay: Stay) -> Attempt:
    assert threading.current_thread() is not threading.main_thread()
    assert stay.nights == 3
    return current_attempt()


@tool
def first_of(names: list[str]) -> str:
    return next(name for name in names if name)


@tool
def breaks() -> int:
    return 1 // int("0")


@tool
def wrapped(value: int) -> Any:
    return anything(value=value)


@tool
def hangs(number: int) -> None:
    OPEN.wait()


OPEN = threading.Event()


async def test_a_function_that_is_not_async_is_called_in_a_thread_and_knows_its_attempt() -> None:
    reply = await call("blocking", {"stay": {"arrive": "2026-10-01", "nights": 3}}, attempt=2)
    assert (reply.candidate, reply.result["attempt"]) == ("blocking", 2)
    assert await first_of(["", "Alba"]) == "Alba", "for its own tests"


async def test_what_it_raises_is_a_failure_as_any_other() -> None:
    found = await problem("breaks")
    assert (found.type, found.retryable) == ("ZeroDivisionError", True)
    assert "in breaks" in (found.traceback or "")
    assert "executors/threads.py" not in (found.traceback or "")
    none = await problem("first_of", {"names": []})
    assert none.message == "RuntimeError: the function raised StopIteration"


async def test_what_it_returns_is_awaited_where_it_can_be() -> None:
    assert (await call("wrapped", {"value": 3})).result == 3


async def test_calls_that_hang_hold_up_nobody_else() -> None:
    hanging = [asyncio.create_task(call("hangs", {"number": number})) for number in range(100)]
    try:
        assert (await call("first_of", {"names": ["Alba"]})).result == "Alba"
        assert await asyncio.to_thread(lambda: "ours") == "ours"
        for each in hanging:
            each.cancel()
        ended = await asyncio.gather(*hanging, return_exceptions=True)
        assert {type(each) for each in ended} == {asyncio.CancelledError}
    finally:
        OPEN.set()


TOOLS: Sequence[Tool[..., Any]] = (
    *(price, where, anything, wrong, no_json, busy, broken),
    *(blocking, first_of, breaks, wrapped, hangs),
)


async def test_more_blocking_calls_than_threads_wait_for_one_and_none_is_lost(
    caplog: pytest.LogCaptureFixture,
) -> None:
    threads, throttle, running = Threads(2), threading.Event(), list[int]()

    def held(number: int) -> int:
        running.append(number)
        throttle.wait()
        return number

    asked = [asyncio.create_task(threads.call(held, {"number": number})) for number in range(5)]
    async with asyncio.timeout(20):
        while len(running) < 2:  # noqa: ASYNC110 - threads tell no loop
            await asyncio.sleep(0.001)
        assert sorted(running) == [0, 1]
        throttle.set()
        assert await asyncio.gather(*asked) == [0, 1, 2, 3, 4]
    assert "all 2 threads for blocking functions are taken" in caplog.text


async def test_a_function_that_goes_on_after_its_call_was_given_up_keeps_its_thread() -> None:
    threads, throttle = Threads(1), threading.Event()

    def held() -> None:
        throttle.wait()

    async with asyncio.timeout(20):
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(threads.call(held, {}), 0.01)
        after = asyncio.create_task(threads.call(lambda: "done", {}))
        await asyncio.sleep(0.01)
        assert not after.done()
        throttle.set()
        assert await after == "done"
