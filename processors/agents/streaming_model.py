"""A model that can't stream, for those who stream: it is asked as always, and answers in one piece."""

from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from typing import Any

from pydantic_ai.messages import ModelMessage
from pydantic_ai.models import CompletedStreamedResponse, Model, ModelRequestParameters, StreamedResponse
from pydantic_ai.models.function import FunctionModel
from pydantic_ai.models.wrapper import WrapperModel
from pydantic_ai.settings import ModelSettings
from pydantic_ai.tools import RunContext


class Streaming(WrapperModel):
    """Any model, as one that streams."""

    @asynccontextmanager
    async def request_stream(
        self,
        messages: list[ModelMessage],
        model_settings: ModelSettings | None,
        model_request_parameters: ModelRequestParameters,
        run_context: RunContext[Any] | None = None,
    ) -> AsyncGenerator[StreamedResponse]:
        asked = messages, model_settings, model_request_parameters
        async with AsyncExitStack() as opened:
            streamed: StreamedResponse | None = None
            if _may_stream(self.wrapped):
                with suppress(NotImplementedError):
                    streamed = await opened.enter_async_context(
                        self.wrapped.request_stream(*asked, run_context)
                    )
            if streamed is None:
                streamed = CompletedStreamedResponse(
                    await self.wrapped.request(*asked),
                    model_request_parameters=model_request_parameters,
                    replay_events=True,
                )
            yield streamed


def unwrapped(model: Model) -> Model:
    while isinstance(model, WrapperModel):
        model = model.wrapped
    return model


def _may_stream(model: Model) -> bool:
    """Others say `NotImplementedError`; a `FunctionModel` without a function for it fails an assertion."""
    inner = unwrapped(model)
    return not isinstance(inner, FunctionModel) or inner.stream_function is not None
