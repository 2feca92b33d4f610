"""A cheap writer who is loud, a strong one who is quiet, and a critic: each call consumes 100 tokens."""

from collections.abc import Callable
from typing import Any

from pydantic_ai.messages import ModelMessage, ModelResponse, TextPart
from pydantic_ai.models.function import AgentInfo, FunctionModel
from pydantic_ai.usage import RequestUsage

from segue import App, Budget, ModelRoute, Policy, Price, Task, cheapest, judge, workflow

TOKENS = 100


def model(name: str, say: Callable[[str], str]) -> FunctionModel:
    def answer(messages: list[ModelMessage], info: AgentInfo) -> ModelResponse:
        said = say(str(messages[-1].parts[-1].content))  # type: ignore[union-attr]
        return ModelResponse(parts=[TextPart(said)], usage=RequestUsage(input_tokens=TOKENS), model_name=name)

    return FunctionModel(answer, model_name=name)


def verdict(asked: str) -> str:
    return '{"accepted": %s, "critique": "it is loud"}' % ("true" if '"answer": "quiet' in asked else "false")


strong = model("strong", lambda asked: f"quiet {asked}")
cheap = model("cheap", lambda asked: f"LOUD {asked}")

writer = ModelRoute("writer", [strong, cheap], choose=cheapest(), policy=Policy(max_reprompts=0))
critic = ModelRoute("critic", [model("critic", verdict)])


@workflow(budget=Budget(tokens=7 * TOKENS, ask="ada"))
async def write(task: Task, lines: int) -> list[Any]:
    quiet = judge("Is it quiet?", route=critic)
    return [await task.model(writer, f"line {n}", check=quiet) for n in range(lines)]


PRICES = {"strong": Price(input=2_500, output=0), "cheap": Price(input=1_250, output=0)}

app = App("decisions", workflows=[write], routes=[writer, critic], prices=PRICES)
