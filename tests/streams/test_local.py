"""Calls of local tools: made before the commit of what asked for them, or handed on."""

import asyncio
from typing import Any

import pytest

import segue.streams.engine.local_calls
from segue.processors.app.app import App
from segue.processors.routing.rate_limits import Limit
from segue.processors.routing.routes import ToolRoute
from segue.processors.routing.tools import tool
from segue.streams.engine.local_calls import LocalCalls
from segue.streams.engine.outbox import Outbox
from segue.streams.executors.tool import ToolExecutor
from segue.streams.observability.metrics import Metrics
from segue.streams.settings import Settings
from segue.topics.errors import BadInput, Permanent
from segue.topics.flow import Decision, Publish
from segue.topics.records import AttemptFailed, CallTool, StepSucceeded
from tests.builders import call_tool, published, received
from tests.pipelines import pipeline

interrupted: list[int] = []
CAUSE = received("events", b"what happened")


@tool(local=True)
async def double(n: int) -> int:
    return 2 * n


@tool(local=True, retries=0)
async def broken(n: int) -> int:
    raise Permanent(f"no {n}")


@tool(local=True)
async def slow(n: int) -> int:
    try:
        await asyncio.sleep(30)
    except asyncio.CancelledError:
        interrupted.append(n)
        raise
    return n


@tool(local=True)
async def large(n: int) -> str:
    return "x" * n


@tool
async def remote(n: int) -> int:
    return n


either: ToolRoute[Any] = ToolRoute("either", [double, remote])
APP = App("local", workflows=[], tools=[double, broken, slow, large, remote], routes=[either])


def local() -> LocalCalls:
    return LocalCalls(APP, pipeline("tool", APP, ToolExecutor(APP), Metrics(APP)))


def asks(*calls: CallTool) -> Decision:
    return Decision([Publish("tool-calls", call.task, call) for call in calls], tenant="acme")


def call(route: str, n: int, step: int = 0) -> CallTool:
    return call_tool(route=route, arguments={"n": n}, step=step)


async def served(calls: LocalCalls, *asked: CallTool) -> Outbox:
    outbox = Outbox(Settings())
    outbox.local = calls.taken_from(asks(*asked), CAUSE)
    assert len(outbox.local) == len(asked)
    await calls.serve(outbox, "conduct")
    return outbox


def sent(outbox: Outbox, topic: str) -> list[Any]:
    return published(Decision(outbox.published), topic)


async def test_only_calls_of_lone_local_tools_are_taken() -> None:
    here, there, routed = call("double", 1), call("remote", 2), call("either", 3)
    undo = call("double", 4).model_copy(update={"undoes": 0})  # what a step undoes is told by its call
    decision = asks(here, there, routed, undo)
    decision.publish.append(Publish("delays", "t", None))
    taken = local().taken_from(decision, CAUSE)
    assert [each.call for each in taken] == [here]
    assert [each.value for each in decision.publish] == [there, routed, undo, None]


async def test_what_no_record_caused_is_left_to_the_stage_of_tools() -> None:
    decision = asks(call("double", 1))
    assert local().taken_from(decision, None) == []
    assert len(decision.publish) == 1


async def test_answers_and_failures_are_published_in_the_place_of_calls() -> None:
    outbox = await served(local(), call("double", 4, step=0), call("broken", 5, step=1))
    (answer,), (failure,) = sent(outbox, "events"), sent(outbox, "failures")
    assert isinstance(answer, StepSucceeded)
    assert (answer.step, answer.result, answer.candidate, answer.attempt) == (0, 8, "double", 1)
    assert isinstance(failure, AttemptFailed)
    assert (failure.call.step, failure.problem.message) == (1, "no 5")
    assert sent(outbox, "tool-calls") == []
    assert all(("segue-tenant", b"acme") in record.headers for record in outbox.records)


async def test_a_call_that_takes_too_long_is_interrupted_and_handed_on_and_its_tool_rests(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(segue.streams.engine.local_calls, "REST_S", 0.05)
    interrupted.clear()
    calls = local()
    outbox = await served(calls, call("slow", 6), call("double", 7, step=1))
    assert interrupted == [6]
    assert sent(outbox, "tool-calls") == [call("slow", 6)]
    assert [answer.result for answer in sent(outbox, "events")] == [14]
    assert len(caplog.messages) == 1
    assert "local tool 'slow' did not answer within 0.1 s" in caplog.text
    assert calls.taken_from(asks(call("slow", 8)), CAUSE) == []
    await asyncio.sleep(0.1)
    assert len(calls.taken_from(asks(call("slow", 8)), CAUSE)) == 1


async def test_of_many_calls_those_beyond_the_first_are_left_to_other_workers() -> None:
    many = [call("double", n, step=n) for n in range(segue.streams.engine.local_calls.CALLS_MAX + 2)]
    outbox = await served(local(), *many)
    assert len(sent(outbox, "events")) == segue.streams.engine.local_calls.CALLS_MAX
    assert sent(outbox, "tool-calls") == many[-2:]


async def test_a_result_that_fits_no_record_is_a_failed_attempt() -> None:
    outbox = await served(local(), call("large", 2_000_000))
    (failure,) = sent(outbox, "failures")
    assert (failure.problem.type, failure.problem.retryable) == ("TooLarge", False)


def test_a_limit_of_a_local_tool_is_refused_at_start() -> None:
    with pytest.raises(BadInput, match="a limit for 'double', which is a local tool"):
        App("limited", workflows=[], tools=[double], limits={"double": Limit(concurrent=1)})
