"""Speaks to model providers through Pydantic AI, whose retries and whose providers' retries are off.

    call ─▶ conversation ─▶ messages ─▶ the provider ─▶ a response ─▶ JSON by the call's schema, or text

Structured output goes by what the model does best (a tool, the provider's JSON mode, a prompt): Pydantic AI
knows. A schema that is no object is put into one, since providers take objects only, and taken out again.
An output that is no answer is raised as `OutputRefused`: its critique becomes a turn of the next attempt.
"""

import json
from typing import Any, cast
from urllib.parse import quote

from pydantic_ai import exceptions as ai
from pydantic_ai.direct import model_request
from pydantic_ai.messages import (
    ModelMessage,
    ModelRequest,
    ModelResponse,
    TextPart,
    ToolCallPart,
    UserPromptPart,
)
from pydantic_ai.models import Model, ModelRequestParameters, infer_model
from pydantic_ai.output import OutputObjectDefinition
from pydantic_ai.settings import ModelSettings
from pydantic_ai.tools import ToolDefinition

from segue.processors.payloads.schemas import type_decides
from segue.processors.routing.routes import ModelCandidate, ModelRoute
from segue.processors.stages.model import Turn, conversation
from segue.processors.stages.reply import Reply
from segue.streams.calls.failures import OutputRefused, Withheld, http_message, may_retry, retry_after_s
from segue.streams.calls.pricing import Prices
from segue.streams.calls.token_stream import TokenPublisher
from segue.streams.client.answers import json_or_text
from segue.streams.executors.connections import spread_models
from segue.streams.executors.streamed import request_streamed
from segue.streams.json_schema.typed import misfit
from segue.topics.errors import Permanent, Retryable, SegueError
from segue.topics.records import CallModel

WRAPPED = "answer"
"""The property that holds an output whose schema is no object."""

OUTPUT_TOOL = "answer"
"""What a model calls to answer, where it answers by a tool."""

OUTPUT_KEPT_CHARS_MAX = 20_000
"""Of an output that is no answer: it goes back to the model and into a record."""


class ModelClient:
    """One candidate. Raises `Permanent` when it can't be made: no API key, no such provider."""

    def __init__(self, candidate: ModelCandidate, name: str, prices: Prices) -> None:
        self._name = name
        self._prices = prices
        try:
            self._model = infer_model(candidate) if isinstance(candidate, str) else cast("Model", candidate)
        except (ai.UserError, ImportError) as error:
            raise Permanent(f"{name}: {error}") from error

    async def __aenter__(self) -> "ModelClient":
        await self._model.__aenter__()
        spread_models(self._model)
        return self

    async def __aexit__(self, *reason: Any) -> None:
        await self._model.__aexit__(*reason)

    async def ask(self, route: ModelRoute, call: CallModel, telling: TokenPublisher | None) -> Reply:
        """Make one request, streamed to `telling` where that is given."""
        asked, settings = messages(call, call.instructions or route.instructions), self._settings(route, call)
        shape = parameters(call.output)
        try:
            if telling is not None:
                response = await request_streamed(telling, self._model, asked, settings, shape)
            else:
                response = await model_request(
                    self._model, asked, model_settings=settings, model_request_parameters=shape
                )
        except (ai.AgentRunError, ai.UserError) as error:
            raise meaning(error, self._name) from error
        usage = await self._prices.usage(
            self._name, response.usage, response.model_name, response.provider_name, response.provider_url
        )
        try:
            return Reply(answer(response, call.output), self._name, usage)
        except (OutputRefused, Withheld) as none:
            none.usage = usage
            raise

    def _settings(self, route: ModelRoute, call: CallModel) -> ModelSettings:
        """The route's settings and ours; a model that does not know one of ours would warn at every call."""
        headers = {"Idempotency-Key": request_key(call)} | dict(route.settings.get("extra_headers", {}))
        ours = {"max_retries": 0, "timeout": route.policy.timeout_s, "extra_headers": headers}
        known = {name: value for name, value in ours.items() if name not in self._model.unsupported_settings}
        return cast("ModelSettings", {**route.settings, **known})


# ---------------------------------------------------------------- what is asked


def messages(call: CallModel, instructions: str | None) -> list[ModelMessage]:
    spoken: list[ModelMessage] = []
    for turn in conversation(call):
        text = _text(turn)
        if turn.role == "user":
            spoken.append(ModelRequest(parts=[UserPromptPart(text)], instructions=instructions))
        elif text:  # providers refuse an empty turn
            spoken.append(ModelResponse(parts=[TextPart(text)]))
    return spoken


def _text(turn: Turn) -> str:
    if turn.content is None:
        return ""
    return turn.content if isinstance(turn.content, str) else json.dumps(turn.content, ensure_ascii=False)


def request_key(call: CallModel) -> str:
    """The same for every attempt that asks the same: another candidate or critique makes another request."""
    return quote(f"{call.idempotency_key}/{call.candidate_index}/{len(call.critiques)}", safe="/")


def parameters(schema: dict[str, Any] | None) -> ModelRequestParameters:
    if schema is None:
        return ModelRequestParameters()
    asked = as_object({key: value for key, value in schema.items() if key != "$comment"})
    about = schema.get("description") or "The answer to what was asked."
    return ModelRequestParameters(
        output_mode="auto",
        output_object=OutputObjectDefinition(json_schema=asked, name=OUTPUT_TOOL, description=about),
        output_tools=[
            ToolDefinition(name=OUTPUT_TOOL, parameters_json_schema=asked, description=about, kind="output")
        ],
        allow_text_output=False,
    )


def as_object(schema: dict[str, Any]) -> dict[str, Any]:
    """A schema of an object, which holds the answer as `answer` unless it is an object itself."""
    if schema.get("type") == "object":
        return schema
    inner = {key: value for key, value in schema.items() if key != "$defs"}
    outer: dict[str, Any] = {
        "type": "object",
        "properties": {WRAPPED: inner},
        "required": [WRAPPED],
        "additionalProperties": False,
    }
    return outer | {"$defs": schema["$defs"]} if "$defs" in schema else outer


# ---------------------------------------------------------------- what is answered


def answer(response: ModelResponse, schema: dict[str, Any] | None) -> Any:
    """What the model answered, as JSON or text.

    Raises `OutputRefused` if that is no answer, `Withheld` if the provider withheld it.
    """
    if response.finish_reason == "content_filter":
        raise Withheld(f"{response.model_name} withheld its answer: the provider's content filter stopped it")
    said = response.text if schema is None else _called(response) or response.text
    if response.finish_reason == "length":
        raise OutputRefused(
            _shortened(said), "The answer was cut off at the output limit (max_tokens). Be briefer."
        )
    if not said:
        raise OutputRefused(None, "The answer was empty.")
    return said if schema is None else _structured(said, schema)


def _called(response: ModelResponse) -> str | dict[str, Any] | None:
    calls = [part for part in response.parts if isinstance(part, ToolCallPart)]
    return cast("str | dict[str, Any] | None", calls[0].args) if calls else None


def _structured(said: str | dict[str, Any], schema: dict[str, Any]) -> Any:
    asked = as_object(schema)
    try:
        value = _parsed(_unfenced(said), _required(schema, asked)) if isinstance(said, str) else said
    except (ValueError, RecursionError) as error:
        raise OutputRefused(_shortened(said), f"The answer is not JSON: {error}.") from None
    if (fault := misfit(_required(schema, asked), value)) is not None:
        raise OutputRefused(value, f"The answer does not fit its schema: {fault}.")
    return value if asked is schema else value[WRAPPED]


def _required(schema: dict[str, Any], asked: dict[str, Any]) -> dict[str, Any]:
    """What the answer must fit here: where the type decides, only that there is one."""
    if not type_decides(schema):
        return asked
    return schema if asked is schema else as_object({})


def _parsed(text: str, schema: dict[str, Any]) -> Any:
    json.loads(text)
    return json_or_text(text, lambda exact: misfit(schema, exact) is None)


def _unfenced(text: str) -> str:
    """JSON out of the Markdown fence that models put around it."""
    text = text.strip()
    return (
        text.removeprefix("```json").removeprefix("```").removesuffix("```")
        if text.startswith("```")
        else text
    )


def _shortened(said: str | dict[str, Any] | None) -> Any:
    return said[:OUTPUT_KEPT_CHARS_MAX] if isinstance(said, str) else said


# ---------------------------------------------------------------- what went wrong


def meaning(error: Exception, by: str) -> SegueError:
    """Pydantic AI's errors in Segue's words; its categories know more of providers than the status does."""
    match error:
        case ai.ModelHTTPError():
            return _http_meaning(error, by)
        case ai.ContentFilterError():
            return Permanent(f"{by} withheld its answer: {error}")
        case ai.UserError():
            return Permanent(f"{by}: {error}")
        case _:
            return Retryable(f"{by}: {error}", retry_after_s=getattr(error, "retry_after", None))


def _http_meaning(error: ai.ModelHTTPError, by: str) -> SegueError:
    headers = error.headers or {}
    what = f"{by}: {http_message(error.status_code, _detail(error.body))}"
    if isinstance(error, ai.ModelQuotaExceededError) or not may_retry(error.status_code, headers):
        return Permanent(what + _where_the_key_is(error.status_code, by))
    return Retryable(what, retry_after_s=retry_after_s(headers))


def _detail(body: object) -> str:
    """The provider's own sentence, out of `{"error": {"message": …}}` or `{"message": …}`."""
    if not isinstance(body, dict):
        return str(body).partition("\n")[0] if body else ""
    fields = cast("dict[str, Any]", body)
    inner = fields.get("error", fields)
    return str(cast("dict[str, Any]", inner).get("message", inner) if isinstance(inner, dict) else inner)


def _where_the_key_is(status: int, by: str) -> str:
    provider = by.partition(":")[0].partition("-")[0]
    return f"; it is read from {provider.upper()}_API_KEY" if status == 401 and ":" in by else ""
