"""The offline model as Pydantic AI sees it: messages and an output schema in, a call of the output tool out.

Which of its two jobs it is asked to do, it tells by the schema, like any model.
"""

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

from ..models import Hotel, Ranking, TripRequest
from .ranking import rank
from .request import interpret

NAME = "offline-travel"
_HOTELS = TypeAdapter(list[Hotel])


class OfflineModel(FunctionModel):
    def __init__(self) -> None:
        super().__init__(_respond, model_name=NAME)


def _respond(messages: list[ModelMessage], info: AgentInfo) -> ModelResponse:
    schema, tool = _asked_for(info)
    prompt = _first_prompt(messages)
    answer: TripRequest | Ranking
    match schema.get("title"):
        case "TripRequest":
            answer = interpret(_latest_first(prompt), date.fromisoformat(prompt["today"]))
        case "Ranking":
            answer = rank(_HOTELS.validate_python(prompt["hotels"]), prompt["wishes"])
        case title:
            return ModelResponse(
                [TextPart(f"I can interpret and rank trips, but not {title or 'chat'}.")], model_name=NAME
            )
    arguments = answer.model_dump(mode="json")
    part = ToolCallPart(tool, arguments) if tool else TextPart(json.dumps(arguments))
    return ModelResponse([part], model_name=NAME)


def _latest_first(prompt: dict[str, Any]) -> str:
    """What the customer added weighs more than what stood there before."""
    return ", ".join([*reversed(prompt["answers"]), prompt["request"]])


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
