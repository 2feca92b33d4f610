"""What is only played again is not reported again: agents' spans, and the lines of a workflow's log."""

import asyncio
import logging
from collections import Counter
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from pydantic_ai import Agent
from pydantic_ai.capabilities import Instrumentation
from pydantic_ai.models.instrumented import InstrumentationSettings

from segue import App, Task, tool, workflow
from segue.agents import Durable
from segue.processors.limits import Limits
from segue.streams.testing.replay import Replay
from tests.agents import calls, scripted, text
from tests.driver import Driver
from tests.spans import Spans

Play = Callable[[App, str, Any], Driver]


def undisturbed(app: App, workflow: str, value: Any = None, **options: Any) -> Driver:
    driver = Driver(app, **options)
    driver.submit(workflow, value)
    driver.run()
    return driver


def decided_twice(app: App, workflow: str, value: Any = None) -> Driver:
    return undisturbed(app, workflow, value, forgets=True)


def rebuilt_for_each_event(app: App, workflow: str, value: Any = None) -> Driver:
    """After a restart the first act is to look after old tasks, the second handles a record."""
    driver = Driver(app)
    driver.submit(workflow, value)
    for _ in range(40):
        driver.act()
        driver.act()
        driver.restart()
    driver.run()
    return driver


PLAYS: list[Play] = [undisturbed, decided_twice, rebuilt_for_each_event]

RUN = {
    "invoke_agent guide": 1,
    "chat function:answer:stream": 3,
    "execute_tool look": 1,
    "execute_tool near": 1,
}


def traced(*, by_capability: bool) -> tuple[Agent[Any, Any], Spans]:
    spans = Spans()
    settings = InstrumentationSettings(tracer_provider=spans)
    capabilities: list[Any] = [Durable[Any](inline={"near"})]
    if by_capability:
        capabilities.append(Instrumentation(settings))
    answers = calls("look", {"at": "x"}), calls("near", {"at": "x"}), text("seen")
    agent: Agent[Any, Any] = Agent(scripted(*answers), name="guide", capabilities=capabilities)
    if not by_capability:
        agent.instrument = settings

    @agent.tool_plain
    async def look(at: str) -> str:
        return at

    @agent.tool_plain
    async def near(at: str) -> str:
        return at

    return agent, spans


@pytest.mark.parametrize("by_capability", [True, False])
@pytest.mark.parametrize("play", PLAYS)
def test_an_agents_spans_are_reported_once(play: Play, by_capability: bool) -> None:
    agent, spans = traced(by_capability=by_capability)

    @workflow
    async def ask(task: Task) -> Any:
        return (await agent.run("go")).output

    driver = play(App("one", workflows=[ask], agents=[agent]), "ask", None)
    assert driver.result().result == "seen"
    assert Counter(spans.ended) == RUN


def test_runs_at_the_same_time_and_in_tools_report_once() -> None:
    agent, spans = traced(by_capability=True)
    outer: Agent[Any, Any] = Agent(
        scripted(calls("ask", {}), text("done")), name="outer", capabilities=[Durable(inline={"ask"})]
    )

    @outer.tool_plain
    async def ask() -> Any:
        return (await agent.run("go")).output

    @workflow
    async def both(task: Task) -> Any:
        runs = await asyncio.gather(agent.run("go"), outer.run("go"))
        return [run.output for run in runs]

    driver = rebuilt_for_each_event(App("one", workflows=[both], agents=[agent, outer]), "both")
    assert driver.result().result == ["seen", "done"]
    assert Counter(spans.ended) == {name: 2 * count for name, count in RUN.items()}


def test_a_run_that_waits_while_its_task_is_rebuilt_is_reported_when_it_ends() -> None:
    spans = Spans()
    durable = Durable[Any](inline={"wait"})
    agent: Agent[Any, Any] = Agent(
        scripted(calls("wait", {}), text("seen")), name="guide", capabilities=[durable]
    )
    agent.instrument = InstrumentationSettings(tracer_provider=spans)

    @agent.tool_plain
    async def wait() -> str:
        await asyncio.sleep(60)
        return "waited"

    @workflow
    async def ask(task: Task) -> Any:
        return (await agent.run("go")).output

    driver = Driver(App("one", workflows=[ask], agents=[agent]))
    driver.submit("ask")
    while driver.act():
        pass
    driver.restart()
    assert "execute_tool wait" not in spans.ended
    driver.run()
    assert Counter(spans.ended) == {
        "invoke_agent guide": 1,
        "chat function:answer:stream": 2,
        "execute_tool wait": 1,
    }


# ---------------------------------------------------------------- the log of a workflow


@tool
async def look(at: str) -> str:
    return at


@workflow
async def logged(task: Task, at: str) -> str:
    task.log.info("begins at %s", at)
    found = await task.tool(look, at)
    task.log.info("found %s", found, extra={"found": found})
    try:
        await asyncio.sleep(timedelta(days=1).total_seconds())
        task.log.warning("slept")
    finally:
        task.log.debug("ends")
    return found


LINES = [("INFO", "begins at A"), ("INFO", "found A"), ("WARNING", "slept"), ("DEBUG", "ends")]


def lines(caplog: pytest.LogCaptureFixture) -> list[tuple[str, str]]:
    ours = [record for record in caplog.records if record.name == "segue.workflow.logged"]
    assert {(record.__dict__["task"], record.__dict__["workflow"]) for record in ours} <= {("t", "logged")}
    return [(record.levelname, record.getMessage()) for record in ours]


@pytest.mark.parametrize("play", PLAYS)
def test_a_line_of_a_workflows_log_is_written_once(play: Play, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, "segue.workflow")
    driver = play(App("one", workflows=[logged], tools=[look]), "logged", "A")
    assert driver.result().result == "A"
    assert lines(caplog) == LINES
    [found] = [record for record in caplog.records if record.getMessage() == "found A"]
    assert found.__dict__["found"] == "A"


def test_tasks_that_push_each_other_out_of_memory_write_their_lines_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.DEBUG, "segue.workflow")
    driver = Driver(App("one", workflows=[logged], tools=[look]), limits=Limits(cached_tasks_max=1))
    for task in ("t", "u"):
        driver.submit("logged", "A", task)
    driver.run()
    for task in ("t", "u"):
        ours = [record.getMessage() for record in caplog.records if record.__dict__.get("task") == task]
        assert ours == [line for _, line in LINES]


def test_a_task_that_ran_into_a_bug_logs_what_mended_code_does(caplog: pytest.LogCaptureFixture) -> None:
    """The event at which it was parked has not happened: what it logs then is new."""

    @workflow(name="logged")
    async def buggy(task: Task, at: str) -> str:
        task.log.info("begins at %s", at)
        await task.tool(look, at)
        task.log.info("before the bug")
        raise KeyError(at)

    caplog.set_level(logging.DEBUG, "segue.workflow")
    driver = Driver(App("one", workflows=[buggy], tools=[look]))
    driver.submit("logged", "A")
    driver.run()
    driver.restart(App("one", workflows=[logged], tools=[look]))
    driver.run()
    assert driver.result().result == "A"
    assert lines(caplog) == [LINES[0], ("INFO", "before the bug"), *LINES[1:]]


def test_a_replay_without_effects_logs_nothing(caplog: pytest.LogCaptureFixture) -> None:
    app = App("one", workflows=[logged], tools=[look])
    driver = undisturbed(app, "logged", "A")
    caplog.clear()
    caplog.set_level(logging.DEBUG, "segue.workflow")
    replay = Replay(app, [*driver.logs["events"], *driver.logs["results"]])
    assert len(list(replay)) > 2
    assert lines(caplog) == []
