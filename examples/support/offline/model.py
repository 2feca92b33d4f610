"""The offline model as Pydantic AI sees it: messages and a schema in, a call of the output tool out."""

import json
from collections.abc import Sequence
from datetime import date
from typing import Any, cast

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

from ..models import Entry, Move
from .moves import decide

NAME = "offline-support"
_LOG: TypeAdapter[list[Entry]] = TypeAdapter(list[Entry])


class OfflineModel(FunctionModel):
    def __init__(self) -> None:
        super().__init__(_respond, model_name=NAME)


def answer(prompt: dict[str, Any]) -> Move:
    log = _LOG.validate_python(prompt["log"])
    return Move(move=decide(log, prompt["customer"], date.fromisoformat(prompt["today"])))


def _respond(messages: list[ModelMessage], info: AgentInfo) -> ModelResponse:
    schema, tool = _asked_for(info)
    if schema.get("title") != "Move":
        return ModelResponse(
            [TextPart("I can decide what support does next, but not chat.")], model_name=NAME
        )
    arguments = answer(_first_prompt(messages)).model_dump(mode="json")
    part = ToolCallPart(tool, arguments) if tool else TextPart(json.dumps(arguments))
    return ModelResponse([part], model_name=NAME)


def _asked_for(info: AgentInfo) -> tuple[dict[str, Any], str | None]:
    """The schema of the answer, and the tool to call with it, unless plain JSON is wanted."""
    if info.output_tools:
        return info.output_tools[0].parameters_json_schema, info.output_tools[0].name
    wanted = info.model_request_parameters.output_object
    return (wanted.json_schema if wanted else {}), None


def _first_prompt(messages: Sequence[ModelMessage]) -> dict[str, Any]:
    """What comes later are critiques; asked the same, this model would answer the same."""
    for message in messages:
        for part in message.parts if isinstance(message, ModelRequest) else ():
            if isinstance(part, UserPromptPart) and isinstance(part.content, str):
                return cast("dict[str, Any]", json.loads(part.content))
    raise ValueError("the offline model was asked nothing")
