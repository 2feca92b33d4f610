"""What models do wrong: each ends in a clear record and the policy applied, and nothing is stuck."""

from collections.abc import Callable
from typing import Any

import pytest
from pydantic import BaseModel
from pydantic_ai import Agent
from pydantic_ai.messages import ModelMessage, ModelResponse, TextPart, ToolCallPart
from pydantic_ai.models.function import FunctionModel
from pydantic_ai.usage import RequestUsage

from segue import App, Budget, ModelRoute, Policy, Price, Task, workflow
from segue.agents import Durable
from segue.streams.calls.failures import OutputRefused
from segue.topics.parts import Refusal, Spent, Usage
from segue.topics.records import StepFailed
from tests.driver import Driver


class Trip(BaseModel):
    place: str


# ---------------------------------------------------------------- of task.model


@workflow
async def interpret(task: Task) -> str:
    return (await task.model("interpret", "where to?", output=Trip)).place


def nonsense(call: Any) -> Any:
    refused = OutputRefused("purple", "The answer is not JSON: line 1.")
    refused.usage = Usage(model="m", input_tokens=10, output_tokens=5, usd=0.25)
    raise refused


def interpreted(answer: Callable[[Any], Any]) -> Driver:
    route = ModelRoute("interpret", ["small", "large"], policy=Policy(max_reprompts=1))
    driver = Driver(App("x", workflows=[interpret], routes=[route]), {"interpret": answer})
    driver.submit("interpret")
    driver.run()
    return driver


def test_nonsense_goes_back_then_to_the_next_model_then_to_the_workflow() -> None:
    """And what it consumed counts all the same."""
    driver = interpreted(nonsense)
    assert [entry.split()[1] for entry in driver.ran] == ["small", "small", "large", "large"]
    [failed] = [event for event in driver.records("events") if isinstance(event, StepFailed)]
    reason = "The answer is not JSON: line 1."
    assert failed.refusals == tuple(
        Refusal(candidate=by, reason=reason) for by in ("small", "small", "large", "large")
    )
    assert driver.result().spent == Spent(calls=4, input_tokens=40, output_tokens=20, usd=1.0)
    assert driver.result().problem.message == f"interpret: {reason}"  # type: ignore[union-attr]


def test_one_that_sees_its_mistake_is_heard() -> None:
    assert (
        interpreted(lambda call: {"place": "Faro"} if call.critiques else {"plaice": 1}).result().result
        == "Faro"
    )


# ---------------------------------------------------------------- of agents


def guided(
    answer: Callable[[list[ModelMessage]], ModelResponse], budget: Budget | None = None, **agent: Any
) -> Driver:
    model = FunctionModel(lambda messages, info: answer(messages), model_name="m")
    guide = Agent(model, name="guide", capabilities=[Durable()], **agent)

    @guide.tool_plain
    async def measure(depth: int) -> str:
        return f"{depth} m"

    @workflow(budget=budget)
    async def ask(task: Task) -> str:
        return str((await guide.run("go")).output)

    app = App("x", workflows=[ask], agents=[guide], prices={"m": Price(input=2_500, output=0)})
    driver = Driver(app)
    driver.submit("ask")
    driver.run()
    return driver


def says(*parts: Any) -> ModelResponse:
    return ModelResponse(parts=list(parts), usage=RequestUsage(input_tokens=100), model_name="m")


WRONG = {
    "a tool that does not exist": ToolCallPart("dig", {"depth": 1}),
    "arguments that do not validate": ToolCallPart("measure", {"depth": "deep"}),
    "arguments that are no JSON": ToolCallPart("measure", '{"depth": '),
}


@pytest.mark.parametrize("wrong", WRONG)
def test_an_agents_model_is_told_of_a_wrong_call_and_may_do_better(wrong: str) -> None:
    """The tool was not called, so nothing is to be undone."""

    def answer(messages: list[ModelMessage]) -> ModelResponse:
        return says(WRONG[wrong]) if len(messages) == 1 else says(TextPart("sorry"))

    driver = guided(answer)
    assert driver.result().result == "sorry"
    assert driver.logs["tool-calls"] == []


@pytest.mark.parametrize("wrong", WRONG)
def test_an_agents_model_that_learns_nothing_ends_its_run(wrong: str) -> None:
    driver = guided(lambda messages: says(WRONG[wrong]))
    problem = driver.result().problem
    assert problem is not None
    assert (problem.type, "exceeded max" in problem.message.lower()) == ("UnexpectedModelBehavior", True)
    assert len(driver.ran) == 2
    assert driver.result().spent == Spent(calls=2, input_tokens=200, usd=0.5)


def test_an_agents_model_that_gives_no_output_ends_its_run() -> None:
    driver = guided(lambda messages: says(TextPart("purple")), output_type=Trip)
    problem = driver.result().problem
    assert problem is not None
    assert problem.type == "UnexpectedModelBehavior"


def for_ever(messages: list[ModelMessage]) -> ModelResponse:
    return says(ToolCallPart("measure", {"depth": 1}))


def test_an_agent_that_calls_the_same_tool_for_ever_is_ended_by_its_limit_of_requests() -> None:
    """Pydantic AI's own: 50, or `usage_limits=` at the run."""
    driver = guided(for_ever)
    problem = driver.result().problem
    assert problem is not None
    assert (problem.type, "request_limit of 50" in problem.message) == ("UsageLimitExceeded", True)
    assert len(driver.records("tool-calls")) == 50


def test_and_by_the_budget_before() -> None:
    driver = guided(for_ever, Budget(tokens=300))
    assert driver.result().problem.type == "BudgetExceeded"  # type: ignore[union-attr]
    assert driver.result().spent == Spent(calls=3, input_tokens=300, usd=0.75)
