"""Agents for tests: models that say what they are told, and workflows played with all stages in memory."""

from collections.abc import AsyncIterable, Awaitable, Callable
from typing import Any

from pydantic_ai import Agent
from pydantic_ai.messages import ModelMessage, ModelResponse, TextPart, ToolCallPart
from pydantic_ai.models import Model, ModelRequestParameters
from pydantic_ai.models.function import AgentInfo, FunctionModel
from pydantic_ai.settings import ModelSettings

from segue import App, Task, workflow
from tests.driver import Driver


def text(said: str) -> ModelResponse:
    return ModelResponse(parts=[TextPart(said)])


def calls(tool: str, *arguments: dict[str, Any]) -> ModelResponse:
    return ModelResponse(parts=[ToolCallPart(tool, each) for each in arguments])


def scripted(*answers: ModelResponse) -> FunctionModel:
    """Says one after the other, by how much was said before; streamed, a word at a time."""

    def answer(messages: list[ModelMessage], info: AgentInfo) -> ModelResponse:
        return answers[sum(isinstance(message, ModelResponse) for message in messages)]

    async def stream(messages: list[ModelMessage], info: AgentInfo) -> AsyncIterable[Any]:
        for part in answer(messages, info).parts:
            assert isinstance(part, TextPart)
            for word in part.content.split(" "):
                yield f"{word} "

    return FunctionModel(answer, stream_function=stream)  # type: ignore[arg-type]


class WholeModel(Model):
    """It has no `request_stream`, as a model of one's own may."""

    @property
    def model_name(self) -> str:
        return "whole"

    @property
    def system(self) -> str:
        return "test"

    async def request(
        self,
        messages: list[ModelMessage],
        model_settings: ModelSettings | None,
        model_request_parameters: ModelRequestParameters,
    ) -> ModelResponse:
        return text("a quiet one")


UNABLE = WholeModel(), FunctionModel(lambda messages, info: text("a quiet one"))
"""They can't stream."""


def played(
    run: Callable[[Task], Awaitable[Any]], *agents: Agent[Any, Any], crashes: dict[int, int] | None = None
) -> Driver:
    """The workflow that awaits `run(task)`, crashed in these acts."""

    @workflow
    async def ask(task: Task) -> Any:
        return await run(task)

    driver = Driver(App("one", workflows=[ask], agents=agents), crashes=crashes)
    driver.submit("ask")
    driver.run()
    return driver


def asked(driver: Driver) -> list[str]:
    """Which operations were asked for, in order."""
    commands = [*driver.records("model-calls"), *driver.records("tool-calls")]
    return [call.agent.operation for call in sorted(commands, key=lambda call: call.step)]


def content_told_last(driver: Driver) -> list[Any]:
    parts = driver.records("model-calls")[-1].agent.body["messages"][-1]["parts"]
    return [part["content"] for part in parts]


def played_thrice(
    run: Callable[[Task], Awaitable[Any]], *agents: Agent[Any, Any], answers: list[Any] | None = None
) -> Driver:
    """The workflow undisturbed; rebuilt for each event, and crashed time and again, it comes to the same.

    `answers` are given to the questions that it asks, in order.
    """

    @workflow
    async def ask(task: Task) -> Any:
        return await run(task)

    app = App("one", workflows=[ask], agents=agents)
    undisturbed = _answered(Driver(app), answers or [])
    crashes = dict.fromkeys(range(1, 4 * len(undisturbed.acts), 3), 0)
    for driver in (Driver(app, forgets=True), Driver(app, crashes=crashes)):
        _answered(driver, answers or [])
        was, now = undisturbed.result(), driver.result()
        assert (now.outcome, now.result, now.steps) == (was.outcome, was.result, was.steps), now.problem
    return undisturbed


def _answered(driver: Driver, answers: list[Any]) -> Driver:
    driver.submit("ask")
    driver.run()
    for question, value in zip(driver.records("questions"), answers, strict=False):
        driver.restart()
        driver.produce("signals", {"kind": "answer", "task": "t", "step": question.step, "value": value})
        driver.run()
    return driver
