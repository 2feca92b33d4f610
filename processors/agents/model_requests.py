"""What an agent asks of models: how a request is known again, and how it goes out.

It goes out once, for as long as its policy says, under the key of its step. The clients of providers try
again by themselves, twice as a rule: beneath a policy that does the same, one attempt would be three, and a
limit on requests would not hold. What the agent sets for itself stands.

Where somebody watches, the request streams, whichever way the agent is run, and who tells hears its events.
"""

from collections.abc import AsyncGenerator, Generator
from contextlib import asynccontextmanager, contextmanager
from contextvars import ContextVar
from typing import Any, cast

from pydantic_ai.agent import EventStreamHandler
from pydantic_ai.durable_exec import (
    ModelCancelSuspendedResponseParams,
    ModelCompactMessagesParams,
    ModelRequestParams,
)
from pydantic_ai.messages import ModelMessage, ModelResponse
from pydantic_ai.models import Model, ModelRequestParameters, StreamedResponse
from pydantic_ai.settings import ModelSettings
from pydantic_ai.tools import RunContext

from segue.processors.agents.streaming_model import Streaming, unwrapped

ModelParams = ModelRequestParams | ModelCompactMessagesParams | ModelCancelSuspendedResponseParams
"""What is asked of a model: to answer, to make a conversation shorter, to drop what it still works on."""

ASKED: ContextVar[ModelSettings] = ContextVar("segue_agent_request")
"""The settings of the attempt that asks the model now; set in the model stage alone."""

HEARER: ContextVar[EventStreamHandler[Any] | None] = ContextVar("segue_agent_hearer", default=None)
"""Who hears what the model writes, while it does; set in the model stage alone."""


def shape_of(params: ModelParams) -> list[list[str]]:
    """Who spoke, in which kinds of parts, of which tools: nothing that a clock or a wording decides."""
    return [
        ["response" if isinstance(message, ModelResponse) else "request", *map(_kind, message.parts)]
        for message in _messages_of(params)
    ]


def _kind(part: Any) -> str:
    tool: str | None = getattr(part, "tool_name", None)
    return f"{part.part_kind} {tool}" if tool else str(part.part_kind)


def _messages_of(params: ModelParams) -> list[ModelMessage]:
    match params:
        case ModelRequestParams():
            return params.messages
        case ModelCompactMessagesParams():
            return params.request_context.messages
        case _:
            return [params.response]


# ---------------------------------------------------------------- how it goes out


@contextmanager
def asked_once(key: str, timeout_s: float) -> Generator[None]:
    """Whatever model is asked within gets one request, with that idempotency key."""
    ours = ModelSettings(max_retries=0, timeout=timeout_s, extra_headers={"Idempotency-Key": key})
    token = ASKED.set(ours)
    try:
        yield
    finally:
        ASKED.reset(token)


@contextmanager
def events_handled_by(hearer: EventStreamHandler[Any] | None) -> Generator[None]:
    """What a model streams within is heard as it comes."""
    token = HEARER.set(hearer)
    try:
        yield
    finally:
        HEARER.reset(token)


def as_asked(model: Model) -> Model | None:
    """The model as the attempt asks it; None where no attempt of ours does."""
    ours = ASKED.get(None)
    return None if ours is None else _Once(model, ours)


class _Once(Streaming):
    def __init__(self, wrapped: Model, ours: ModelSettings) -> None:
        super().__init__(wrapped)
        self._ours = ours

    async def request(
        self,
        messages: list[ModelMessage],
        model_settings: ModelSettings | None,
        model_request_parameters: ModelRequestParameters,
    ) -> ModelResponse:
        return await super().request(messages, self._with(model_settings), model_request_parameters)

    @asynccontextmanager
    async def request_stream(
        self,
        messages: list[ModelMessage],
        model_settings: ModelSettings | None,
        model_request_parameters: ModelRequestParameters,
        run_context: RunContext[Any] | None = None,
    ) -> AsyncGenerator[StreamedResponse]:
        settings = self._with(model_settings)
        async with super().request_stream(messages, settings, model_request_parameters, run_context) as said:
            yield said

    def _with(self, settings: ModelSettings | None) -> ModelSettings:
        """A model that does not know one of ours would warn at every request."""
        given: dict[str, Any] = {**(settings or {})}
        unknown = unwrapped(self.wrapped).unsupported_settings
        ours: dict[str, Any] = {name: value for name, value in self._ours.items() if name not in unknown}
        if "extra_headers" in ours:
            given["extra_headers"] = ours["extra_headers"] | (given.get("extra_headers") or {})
        return cast("ModelSettings", ours | given)
