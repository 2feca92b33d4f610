"""The offline model as Pydantic AI sees it. Which of its three jobs it is to do, it tells by the schema."""

import json
from collections.abc import Sequence
from typing import Any

from pydantic import TypeAdapter
from pydantic_ai.messages import (
    ModelMessage,
    ModelRequest,
    ModelResponse,
    TextPart,
    ToolCallPart,
    UserPromptPart,
)
from pydantic_ai.models.function import AgentInfo, FunctionModel

from ..models import Draft, Objection, Passage, Questions, Verdict
from .criticism import criticize
from .planning import plan
from .writing import write

NAME = "offline-research"
_PASSAGES = TypeAdapter(list[Passage])
_OBJECTIONS = TypeAdapter(list[Objection])


class OfflineModel(FunctionModel):
    def __init__(self) -> None:
        super().__init__(_respond, model_name=NAME)


def _respond(messages: list[ModelMessage], info: AgentInfo) -> ModelResponse:
    schema, tool = _asked_for(info)
    answer = _answer(schema.get("title"), _first_prompt(messages))
    if answer is None:
        said = "I can plan a search, write from passages and criticize, but not chat."
        return ModelResponse([TextPart(said)], model_name=NAME)
    arguments = answer.model_dump(mode="json")
    part = ToolCallPart(tool, arguments) if tool else TextPart(json.dumps(arguments))
    return ModelResponse([part], model_name=NAME)


def _answer(wanted: str | None, prompt: str) -> Questions | Draft | Verdict | None:
    match wanted:
        case "Questions":
            return plan(prompt)
        case "Draft":
            asked = json.loads(prompt)
            passages = _PASSAGES.validate_python(asked["passages"])
            draft, objections = asked["draft"], _OBJECTIONS.validate_python(asked["objections"])
            return write(asked["questions"], passages, Draft.model_validate(draft), objections)
        case "Verdict":
            asked = json.loads(prompt)
            passages = _PASSAGES.validate_python(asked["passages"])
            return criticize(Draft.model_validate(asked["draft"]), passages, asked["searched"])
        case _:
            return None


def _asked_for(info: AgentInfo) -> tuple[dict[str, Any], str | None]:
    """The schema of the answer, and the tool to call with it, unless plain JSON is wanted."""
    if info.output_tools:
        return info.output_tools[0].parameters_json_schema, info.output_tools[0].name
    wanted = info.model_request_parameters.output_object
    return (wanted.json_schema if wanted else {}), None


def _first_prompt(messages: Sequence[ModelMessage]) -> str:
    """What comes later are refusals of a check; asked the same, this model would answer the same."""
    for message in messages:
        for part in message.parts if isinstance(message, ModelRequest) else ():
            if isinstance(part, UserPromptPart) and isinstance(part.content, str):
                return part.content
    raise ValueError("the offline model was asked nothing")
