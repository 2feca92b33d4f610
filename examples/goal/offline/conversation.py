"""A conversation as the offline models see it: what was called, with which arguments, and what came of it."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from pydantic_ai.messages import ModelMessage, ModelResponse, ToolCallPart, ToolReturnPart, UserPromptPart
from pydantic_ai.models.function import AgentInfo
from pydantic_core import to_jsonable_python


@dataclass(frozen=True)
class Returned:
    """`value` is JSON; None where the call was denied by a person, or failed."""

    tool: str
    arguments: dict[str, Any]
    value: Any


def returned(messages: Sequence[ModelMessage]) -> list[Returned]:
    """In the order in which it came."""
    parts = [part for message in messages for part in message.parts]
    calls = {part.tool_call_id: part.args_as_dict() for part in parts if isinstance(part, ToolCallPart)}
    return [
        Returned(
            part.tool_name,
            calls.get(part.tool_call_id, {}),
            to_jsonable_python(part.content) if part.outcome == "success" else None,
        )
        for part in parts
        if isinstance(part, ToolReturnPart)
    ]


def prompt(messages: Sequence[ModelMessage]) -> str:
    parts = [part for message in messages for part in message.parts]
    return " ".join(str(part.content) for part in parts if isinstance(part, UserPromptPart))


def call(tool: str, *arguments: dict[str, Any]) -> ModelResponse:
    """One response with a call for each of the arguments."""
    return ModelResponse(parts=[ToolCallPart(tool, each) for each in arguments])


def answer(info: AgentInfo, value: Any) -> ModelResponse:
    return call(info.output_tools[0].name, value.model_dump(mode="json"))
