"""The result of an agent's run is the same whenever its task is rebuilt: messages, times, ids, usage."""

from collections.abc import AsyncIterable, Awaitable, Callable
from typing import Any

from pydantic_ai import Agent, ModelRetry, RunContext, capture_run_messages
from pydantic_ai.capabilities import ModelFallback
from pydantic_ai.messages import (
    ModelMessage,
    ModelMessagesTypeAdapter,
    ModelRequest,
    ModelResponse,
    TextPart,
    ToolCallPart,
)
from pydantic_ai.models.function import FunctionModel
from pydantic_ai.run import AgentRunResult
from pydantic_ai.tools import DeferredToolRequests, DeferredToolResults

from segue import App, Task, tool, workflow
from segue.agents import Durable
from tests.agents import calls, scripted, text
from tests.driver import Driver


@tool
async def keep(value: Any) -> int:
    return len(str(value))


@workflow
async def child(task: Task, history: list[ModelMessage]) -> int:
    return len(history)


Run = Callable[[Task], Awaitable[Any]]


def outcomes(run: Run, *agents: Agent[Any, Any]) -> list[Driver]:
    """The workflow undisturbed, and rebuilt for each of its events."""

    @workflow
    async def ask(task: Task) -> Any:
        return await run(task)

    app = App("one", workflows=[ask, child], agents=agents, tools=[keep])
    driver = Driver(app)
    driver.submit("ask")
    driver.run()
    assert driver.result().outcome == "succeeded", driver.result().problem
    rebuilt = Driver(app, forgets=True)  # raises `NotDurable` where playing it again asks for something else
    rebuilt.submit("ask")
    rebuilt.run()
    crashed = Driver(app, crashes=dict.fromkeys(range(1, 4 * len(driver.acts), 3), 0))
    crashed.submit("ask")
    crashed.run()
    assert not [status.problem for status in crashed.records("status") if status.problem]
    return [driver, rebuilt, crashed]


def told(result: AgentRunResult[Any]) -> list[Any]:
    history = ModelMessagesTypeAdapter.dump_python(result.all_messages(), mode="json")
    return [history, result.run_id, result.conversation_id, str(result.usage), str(result.timestamp)]


def guide(*answers: ModelResponse, **options: Any) -> Agent[Any, Any]:
    agent: Agent[Any, Any] = Agent(
        scripted(*answers), name="guide", capabilities=[Durable(approver="lead")], **options
    )

    @agent.tool_plain
    def look(at: str) -> str:
        if at == "nowhere":
            raise ModelRetry("look somewhere")
        return at

    return agent


def assert_kept(*agents: Agent[Any, Any], run: Run) -> None:
    """What `run` returns is given to a tool and a child, and is the task's result, after every crash."""

    async def kept(task: Task) -> Any:
        value = await run(task)
        await task.tool(keep, value)
        return value

    for driver in outcomes(kept, *agents):
        [call] = [call for call in driver.records("tool-calls") if call.agent is None]
        assert driver.result().result == call.arguments["value"]


LOOK = calls("look", {"at": "nowhere"}), calls("look", {"at": "A"}, {"at": "B"}), text("seen")


def test_a_history_may_be_given_to_tools_and_children_and_returned() -> None:
    agent = guide(*LOOK)

    async def run(task: Task) -> Any:
        result = await agent.run("go")
        await task.child(child, result.all_messages())
        return told(result)

    assert_kept(agent, run=run)


def test_a_run_is_stamped_by_the_tasks_clock() -> None:
    agent = guide(*LOOK)

    async def run(task: Task) -> Any:
        result = await agent.run("go")
        return [m.timestamp == task.now() for m in result.all_messages() if isinstance(m, ModelRequest)]

    assert [driver.result().result for driver in outcomes(run, agent)] == [[True] * 3] * 3


def test_a_result_may_be_returned_and_given_to_the_next_run() -> None:
    agent = guide(*LOOK, text("as before"))

    async def run(task: Task) -> Any:
        first = await agent.run("go")
        second = await agent.run("again", message_history=first.all_messages())
        return [told(first), told(second)]

    assert_kept(agent, run=run)


def test_a_whole_result_may_be_returned() -> None:
    agent = guide(*LOOK)

    async def run(task: Task) -> Any:
        return await agent.run("go")

    results = [driver.result().result for driver in outcomes(run, agent)]
    assert results[0] == results[1] == results[2]
    assert results[0]["output"] == "seen"


def test_messages_that_the_workflow_makes_itself_are_stamped_by_its_task() -> None:
    agent = guide(text("seen"))

    async def run(task: Task) -> Any:
        said = ModelRequest.user_text_prompt("before")
        called = ModelResponse(parts=[ToolCallPart("look", {"at": "A"})])
        history: list[ModelMessage] = [said, called]
        assert said.parts[0].timestamp == task.now()  # type: ignore[union-attr]
        return ModelMessagesTypeAdapter.dump_python(history, mode="json")

    assert_kept(agent, run=run)


def test_an_agent_in_an_inline_tool_of_an_agent() -> None:
    inner = guide(*LOOK)
    outer: Agent[Any, Any] = Agent(
        scripted(calls("delegate", {}, {}), text("done")),
        name="lead",
        capabilities=[Durable(inline={"delegate"})],
    )

    @outer.tool
    async def delegate(ctx: RunContext[Any]) -> list[Any]:
        return told(await inner.run("go", usage=ctx.usage))

    async def run(task: Task) -> Any:
        return told(await outer.run("go"))

    assert_kept(inner, outer, run=run)


def test_runs_at_the_same_time() -> None:
    agent = guide(*LOOK)

    async def run(task: Task) -> Any:
        results = await task.gather(*(agent.run(f"go {number}") for number in range(3)))
        return [told(result) for result in results]

    assert_kept(agent, run=run)


def test_a_history_that_a_processor_changed() -> None:
    from pydantic_ai.capabilities import ProcessHistory

    def shortened(messages: list[ModelMessage]) -> list[ModelMessage]:
        return [*messages[-3:-1], messages[-1], ModelRequest.user_text_prompt("go on")]

    agent: Agent[Any, Any] = Agent(
        scripted(calls("look", {}), text("seen")),
        name="guide",
        capabilities=[ProcessHistory(shortened), Durable()],
    )

    @agent.tool_plain
    def look() -> str:
        return "there"

    async def run(task: Task) -> Any:
        return told(await agent.run("go"))

    assert_kept(agent, run=run)


def test_runs_that_stream_or_are_iterated() -> None:
    agent = guide(text("a quiet place"))

    async def hear(ctx: RunContext[Any], events: AsyncIterable[Any]) -> None:
        async for _ in events:
            pass

    async def run(task: Task) -> Any:
        with capture_run_messages() as captured:
            heard = await agent.run("go", event_stream_handler=hear)
        async with agent.run_stream("go") as streamed:
            await streamed.get_output()
        async with agent.iter("go") as iterated:
            async for _ in iterated:
                pass
        assert iterated.result is not None
        return [
            told(heard),
            ModelMessagesTypeAdapter.dump_python(captured, mode="json"),
            ModelMessagesTypeAdapter.dump_python(streamed.all_messages(), mode="json"),
            str(streamed.timestamp),
            told(iterated.result),
        ]

    assert_kept(agent, run=run)


def test_what_waits_for_a_person_or_somebody_else() -> None:
    agent = guide(calls("wipe", {}), text("done"), output_type=[str, DeferredToolRequests])

    @agent.tool_plain
    async def wipe() -> str:
        from pydantic_ai.exceptions import CallDeferred

        raise CallDeferred

    async def run(task: Task) -> Any:
        first = await agent.run("go")
        [call] = first.output.calls
        results = DeferredToolResults(calls={call.tool_call_id: "wiped"})
        second = await agent.run(message_history=first.all_messages(), deferred_tool_results=results)
        return [told(first), told(second)]

    assert_kept(agent, run=run)


def test_an_attempt_that_failed_within_the_workflow_is_timed_by_the_task() -> None:
    """Pydantic AI lists it on the response, with its time and how long it took."""
    cut_off = ModelResponse(parts=[TextPart("a quiet")], finish_reason="length")
    spare = FunctionModel(lambda messages, info: text("a quiet place"), model_name="spare")
    capabilities = [ModelFallback(spare), Durable[Any](fallbacks=[spare])]
    agent: Agent[Any, Any] = Agent(scripted(cut_off), name="guide", capabilities=capabilities)

    async def run(task: Task) -> Any:
        result = await agent.run("go")
        [attempt] = result.response.failed_attempts or []
        assert attempt.timestamp == task.now()
        return told(result)

    assert_kept(agent, run=run)


def test_a_task_that_goes_on_anew_with_a_history() -> None:
    agent = guide(text("one"), text("two"), text("three"))

    @workflow
    async def chat(task: Task, history: list[ModelMessage]) -> Any:
        result = await agent.run("go", message_history=history)
        if len(history) < 4:
            task.continue_as_new(result.all_messages())
        return told(result)

    def played(**options: Any) -> Any:
        driver = Driver(App("one", workflows=[chat], agents=[agent]), **options)
        driver.submit("chat", [])
        driver.run()
        return driver.result().result, len(driver.acts)

    undisturbed, acts = played()
    # responses are stamped where they are made, and differ between two tasks; requests are not
    for act in range(1, acts, 2):
        assert played(crashes={act: 0})[0][1:] == undisturbed[1:]
    assert played(forgets=True)[0][1:] == undisturbed[1:]
