"""Each misuse of its task is a bug of the workflow: the task is parked, and told what to do."""

import asyncio
import inspect
import math
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import httpx
import pytest
from pydantic_ai import Agent
from pydantic_ai.models.test import TestModel
from pydantic_ai.settings import ModelSettings

from segue import App, ModelRoute, StepError, Task, ToolRoute, check, judge, tool, workflow
from segue.agents import Durable
from segue.processors.workflow.parking import MEND
from segue.topics.records import NotUndone, Status
from tests.driver import Driver


@tool
async def cancel() -> None: ...


@tool(undo=cancel)
async def say(x: Any) -> Any:
    return x


@check
def ok(out: str, at: Any = 1) -> None: ...


@workflow
async def other(task: Task, n: int) -> int:
    return n


class Odd:
    """Nothing that JSON has."""


circular: list[Any] = []
circular.append(circular)

deep: Any = 1
for _ in range(300):
    deep = [deep]

Misuse = Callable[[Any], Any]

MISUSES: dict[str, tuple[Misuse, str]] = {
    "label": (lambda task: task.ask("a", "b", options={1: 1}), "labels that are text"),
    "options": (lambda task: task.ask("a", "b", options=["x"]), 'options={"yes": True}'),
    "options text": (lambda task: task.ask("a", "b", options="yes"), 'options={"yes": True}'),
    "no options": (lambda task: task.ask("a", "b", options={}), "no options to choose from"),
    "option": (lambda task: task.ask("a", "b", options={"x": Odd()}), "JSON can't hold Odd"),
    "option bytes": (lambda task: task.ask("a", "b", options={"x": b"\xff"}), "base64 text"),
    "option circle": (lambda task: task.ask("a", "b", options={"x": circular}), "without the cycle"),
    "whom": (lambda task: task.ask(1, "b"), "whom to ask takes text"),
    "what": (lambda task: task.ask("a", 1), "what to ask takes text"),
    "what half": (lambda task: task.ask("a", "\ud800"), "surrogates not allowed"),
    "answer value": (lambda task: task.ask("a", "b", answer=3), "takes a type that can be read from JSON"),
    "answer type": (lambda task: task.ask("a", "b", answer=Odd), "takes a type that can be read from JSON"),
    "within": (lambda task: task.ask("a", "b", timeout=3), "timeout=timedelta(hours=2)"),
    "child id": (lambda task: task.child(other, 1, id="a\nb"), "none of them a control character"),
    "child id number": (lambda task: task.child(other, 1, id=3), "an id is text of 1 to 200 characters"),
    "child id long": (lambda task: task.child(other, 1, id="x" * 201), "1 to 200 characters"),
    "child id half": (lambda task: task.child(other, 1, id="\ud800"), "is not a valid id"),
    "child own id": (lambda task: task.child(other, 1, id=task.id), "the id of this task itself"),
    "child name": (lambda task: task.child("nope", 1), "it has: other, w"),
    "child kind": (lambda task: task.child(3), "takes a Workflow, or the name of one"),
    "child version": (lambda task: task.child("other", 1, version=9), "has no version 9 of workflow"),
    "child version text": (lambda task: task.child("other", 1, version="1"), "version=2"),
    "child circle": (lambda task: task.child(other, circular), "without the cycle"),
    "child nan": (lambda task: task.child(other, math.nan), "give None or text"),
    "start id": (lambda task: task.start(other, 1, id="a\nb"), "none of them a control character"),
    "start no id": (lambda task: task.start(other, 1, id=""), "is not a valid id"),
    "tool circle": (lambda task: task.tool(say, circular), "without the cycle"),
    "tool bytes": (lambda task: task.tool(say, b"\xff"), "base64 text"),
    "tool deep": (lambda task: task.tool(say, deep), "fewer levels"),
    "tool value": (lambda task: task.tool(say, Odd()), "JSON can't hold Odd"),
    "tool half": (lambda task: task.tool(say, "\ud800"), "surrogates not allowed"),
    "tool missing": (lambda task: task.tool(say), "missing a required argument: 'x'"),
    "tool too many": (lambda task: task.tool(say, 1, 2), "too many positional arguments"),
    "tool kind": (lambda task: task.tool(3), "or the name of one"),
    "tool function": (lambda task: task.tool(len), "declare a function with @tool"),
    "tool name": (lambda task: task.tool("nope"), "add it to its tools or routes"),
    "tool by place": (lambda task: task.tool("say", 1), "pass 1 by name"),
    "tool name bytes": (lambda task: task.tool("say", x=b"\xff"), "base64 text"),
    "tool name circle": (lambda task: task.tool("say", x=circular), "without the cycle"),
    "model kind": (lambda task: task.model(3, "x"), "takes a ModelRoute, or the name of one"),
    "model name": (lambda task: task.model("nope", "x"), "add a ModelRoute to its routes"),
    "prompt bytes": (lambda task: task.model("m", b"\xff"), "base64 text"),
    "prompt circle": (lambda task: task.model("m", circular), "without the cycle"),
    "output type": (lambda task: task.model("m", "x", output=Odd), "takes a type that can be read from JSON"),
    "output value": (lambda task: task.model("m", "x", output=3), "takes a type that can be read from JSON"),
    "instructions": (lambda task: task.model("m", "x", instructions=3), "instructions takes text"),
    "stream": (lambda task: task.model("m", "x", stream="maybe"), "stream takes True or False"),
    "check text": (lambda task: task.model("m", "x", check="ok"), "call it"),
    "check number": (lambda task: task.model("m", "x", check=3), "call it"),
    "check uncalled": (lambda task: task.model("m", "x", check=ok), "call it, ok(…)"),
    "check circle": (lambda task: task.model("m", "x", check=ok(at=circular)), "without the cycle"),
    "check bytes": (lambda task: task.model("m", "x", check=ok(at=b"\xff")), "base64 text"),
    "signal": (lambda task: task.signal(3), "task.signal(…) takes text"),
    "signal type": (lambda task: task.signal("s", Odd), "takes a type that can be read from JSON"),
    "sleep": (lambda task: task.sleep("x"), "seconds or a timedelta"),
    "sleep nan": (lambda task: task.sleep(math.nan), "seconds or a timedelta"),
    "asyncio nan": (lambda task: asyncio.sleep(math.nan), "can't be set for NaN"),
    "sleep until": (lambda task: task.sleep_until("x"), "a datetime with a time zone"),
    "sleep until when": (
        lambda task: task.sleep_until(datetime(2027, 1, 1)),  # noqa: DTZ001
        "needs a time with a time zone",
    ),
    "show circle": (lambda task: task.set_view(circular), "without the cycle"),
    "show bytes": (lambda task: task.set_view(b"\xff"), "base64 text"),
    "show nan": (lambda task: task.set_view(math.nan), "give None or text"),
    "show value": (lambda task: task.set_view(Odd()), "JSON can't hold Odd"),
    "again circle": (lambda task: task.continue_as_new(circular), "without the cycle"),
    "again version": (lambda task: task.continue_as_new(version="2"), "version=2"),
    "undo kind": (lambda task: task.undo_by(3), "or the name of one"),
    "undo name": (lambda task: task.undo_by("nope"), "add it to its tools or routes"),
    "undo bytes": (lambda task: task.undo_by("say", x=b"\xff"), "base64 text"),
    "undo missing": (lambda task: task.undo_by(say), "missing a required argument: 'x'"),
    "child function": (lambda task: task.child(len), "declare a function with @tool or @workflow"),
    "judge": (lambda task: judge("Is it?", route="m", fact=Odd()), "JSON can't hold Odd"),
    "judge circle": (lambda task: judge("Is it?", route="m", fact=circular), "without the cycle"),
    "saga again": (lambda task: enter_again(task.saga()), "a saga can be entered only once"),
    "gather": (lambda task: task.gather(3), "takes steps"),
    "gather list": (lambda task: task.gather([]), "takes steps"),
    "gather failures": (lambda task: task.gather(failures="no"), "'raise' or 'return'"),
}


async def enter_again(saga: Any) -> None:
    async with saga, saga:
        pass


def played(misuse: Misuse, *, caught: bool = False) -> Driver:
    """Does something that is undone if the task fails, and then the misuse."""

    @workflow
    async def w(task: Task) -> Any:
        await task.tool(say, 1)
        try:
            given = misuse(task)
            return await given if inspect.isawaitable(given) else given
        except Exception:
            if caught:
                return await task.tool(say, 2)
            raise

    routes = [ModelRoute("m", ["a"])]
    driver = Driver(
        App("x", workflows=[w, other], tools=[say, cancel], checks=[ok], routes=routes),
        {"m": lambda _: "text"},
    )
    driver.submit("w")
    driver.run(driver.now_ms + 60_000)
    return driver


@pytest.mark.parametrize("name", MISUSES)
def test_it_parks_the_task_and_says_what_to_do(name: str) -> None:
    misuse, sentence = MISUSES[name]
    driver = played(misuse)
    status: Status = driver.records("status", "t")[-1]
    assert status.state == "parked"
    assert status.problem is not None
    assert sentence in status.problem.message
    assert status.problem.message.endswith(MEND)
    assert driver.ran == ["t/0/1 say"], "nothing is undone, and nothing was asked for"


@pytest.mark.parametrize("name", MISUSES)
def test_a_workflow_that_catches_it_goes_on(name: str) -> None:
    assert played(MISUSES[name][0], caught=True).result().result == 2


def test_settings_of_an_agent_that_have_no_json_park_the_task() -> None:
    settings = ModelSettings(timeout=httpx.Timeout(3))
    agent = Agent(TestModel(), name="guide", model_settings=settings, capabilities=[Durable()])

    @workflow
    async def w(task: Task) -> str:
        return (await agent.run("go")).output

    driver = Driver(App("x", workflows=[w], agents=[agent]))
    driver.submit("w")
    driver.run()
    assert "give timeout= in seconds" in driver.bug().message


def test_deps_of_an_agent_that_have_no_json_park_the_task() -> None:
    listed: type[list[Any]] = list
    agent = Agent(TestModel(), name="guide", deps_type=listed, capabilities=[Durable[Any]()])

    @workflow
    async def w(task: Task) -> str:
        return (await agent.run("go", deps=circular)).output

    driver = Driver(App("x", workflows=[w], agents=[agent]))
    driver.submit("w")
    driver.run()
    assert "its deps or metadata can't be sent as JSON" in driver.bug().message


# ---------------------------------------------------------------- what comes from outside parks nothing


@tool
async def gives_text() -> Any:
    return "text"


half = ToolRoute("half", [gives_text], output=int)


@workflow
async def takes_anything(task: Task) -> Any:
    told: list[NotUndone | str] = []
    for step in (task.tool(half), task.model("m", "x", output=int)):
        try:
            await step
        except StepError as error:
            told.append(error.name)
    pick = await task.ask("a", "b", options={"x": 1}, timeout=timedelta(days=1), default="late")
    return [*told, pick]


def test_what_comes_from_outside_and_does_not_fit_parks_no_task() -> None:
    app = App("x", workflows=[takes_anything], routes=[ModelRoute("m", ["a"]), half])
    driver = Driver(app, {"m": lambda _: "text"})
    driver.submit("takes_anything")
    driver.run(driver.now_ms + 3_600_000)
    driver.produce("signals", {"kind": "answer", "task": "t", "value": [1, {"deep": None}]})
    driver.run()
    assert driver.result().result == ["half", "m", "late"]
