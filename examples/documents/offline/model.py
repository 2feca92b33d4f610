"""The offline model as Pydantic AI sees it: messages and an output schema in, a call of the output tool out.

Which of its three jobs it is asked to do, it tells by the schema, like any model.
"""

import json
from collections.abc import Sequence
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

from ..models import Draft, Errand, Passage, Point, Summary
from .errand import read
from .letter import write
from .summary import summarize

NAME = "offline-documents"
_PASSAGES = TypeAdapter(list[Passage])
_POINTS = TypeAdapter(list[Point])


class OfflineModel(FunctionModel):
    def __init__(self) -> None:
        super().__init__(_respond, model_name=NAME)


def answer(title: str | None, prompt: dict[str, Any]) -> Errand | Summary | Draft | None:
    """What this model says to that prompt, where an output of that name is wanted."""
    match title:
        case "Errand":
            return read(prompt["request"], prompt["answers"])
        case "Summary":
            return summarize(prompt["about"], _PASSAGES.validate_python(prompt["passages"]))
        case "Draft":
            errand = Errand.model_validate(prompt["errand"])
            return write(errand, _POINTS.validate_python(prompt["points"]), prompt["notes"])
        case _:
            return None


def _respond(messages: list[ModelMessage], info: AgentInfo) -> ModelResponse:
    schema, tool = _asked_for(info)
    title = schema.get("title")
    said = answer(title, _first_prompt(messages))
    if said is None:
        text = f"I can read errands, quote and write mails, but not {title or 'chat'}."
        return ModelResponse([TextPart(text)], model_name=NAME)
    arguments = said.model_dump(mode="json")
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
