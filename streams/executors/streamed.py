"""A request whose answer comes in pieces: each is told, and the whole is the answer as of any request."""

from collections.abc import AsyncIterable, Sequence
from typing import Any

from pydantic_ai.direct import model_request_stream
from pydantic_ai.messages import (
    AgentStreamEvent,
    ModelMessage,
    ModelResponse,
    ModelResponsePart,
    PartDeltaEvent,
    PartStartEvent,
    TextPart,
    TextPartDelta,
    ToolCallPart,
    ToolCallPartDelta,
)
from pydantic_ai.models import Model, ModelRequestParameters
from pydantic_ai.settings import ModelSettings

from segue.processors.agents.streaming_model import Streaming
from segue.streams.calls.token_stream import TokenPublisher


async def request_streamed(
    telling: TokenPublisher,
    model: Model,
    messages: Sequence[ModelMessage],
    settings: ModelSettings,
    parameters: ModelRequestParameters,
) -> ModelResponse:
    scribe = TextCollector(telling, parameters)
    async with model_request_stream(
        Streaming(model), messages, model_settings=settings, model_request_parameters=parameters
    ) as stream:
        async for event in stream:
            scribe.hear(event)
        return stream.get()


class TextCollector:
    """Tells text, and the JSON of a structured answer as it grows.

    What a model thinks is not told, nor what it calls other tools with: those calls are steps of their own.
    """

    def __init__(self, telling: TokenPublisher, parameters: ModelRequestParameters) -> None:
        self._telling = telling
        self._answers = {tool.name for tool in parameters.output_tools}
        self._answering: set[int] = set()
        """The indices of the parts that are told."""

    async def hear_all(self, context: Any, events: AsyncIterable[AgentStreamEvent]) -> None:
        """An event stream handler, as Pydantic AI has them."""
        async for event in events:
            self.hear(event)

    def hear(self, event: AgentStreamEvent) -> None:
        match event:
            case PartStartEvent(index=index, part=part):
                self._begin(index, part)
            case PartDeltaEvent(index=index, delta=TextPartDelta(content_delta=text)):
                self._tell(index, text)
            case PartDeltaEvent(index=index, delta=ToolCallPartDelta(args_delta=str(text))):
                self._tell(index, text)
            case _:
                pass

    def _begin(self, index: int, part: ModelResponsePart) -> None:
        answers = isinstance(part, ToolCallPart) and part.tool_name in self._answers
        if answers or isinstance(part, TextPart):
            self._answering.add(index)
            self._tell(index, _begun(part))

    def _tell(self, index: int, text: str) -> None:
        if text and index in self._answering:
            self._telling.add(text)


def _begun(part: ModelResponsePart) -> str:
    """What a part begins with: all of it, where a provider gives arguments whole."""
    match part:
        case TextPart(content=str(text)) | ToolCallPart(args=str(text)):
            return text
        case ToolCallPart(args=dict()):
            return part.args_as_json_str()
        case _:
            return ""
