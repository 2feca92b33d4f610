"""Performs what agents ask for: the requests to their models and the calls of their tools.

The operation that the workflow asked for is found by its name in the same agent, in this worker's process.
What it answers goes back in the JSON that Pydantic AI makes of it. A tool that asks the model to try again,
or for an approval, has answered; only what else it raises is a failed attempt.
"""

from contextlib import AbstractContextManager, nullcontext
from typing import Any

from pydantic_ai import exceptions as ai
from pydantic_ai.agent import EventStreamHandler
from pydantic_ai.durable_exec import (
    DurableOperation,
    DurableOperationId,
    ModelRequestParams,
    ToolsetGetInstructionsId,
    durable_unit_scope,
)
from pydantic_ai.usage import RequestUsage

from segue.processors.agents.model_requests import asked_once, events_handled_by
from segue.processors.agents.serialization import Body
from segue.processors.app.app import App
from segue.processors.stages.reply import Reply
from segue.streams.calls.pricing import Prices
from segue.streams.calls.token_stream import TokenPublisher
from segue.streams.executors.connections import spread_models
from segue.streams.executors.current import serve_as_current
from segue.streams.executors.provider import meaning, request_key
from segue.streams.executors.streamed import TextCollector
from segue.topics.errors import UnknownName
from segue.topics.records import CallModel, CallTool


async def request(
    app: App, call: CallModel, by: str, prices: Prices, telling: TokenPublisher | None
) -> Reply:
    """Asks the agent's own model, or the spare that the call has come to; streamed to `telling` if given."""
    route = app.model_route(call.route)
    asked = {"model": route.names[call.candidate_index]} if call.candidate_index else {}
    if call.agent is not None and (agent := app.agents.get(call.agent.agent)) is not None:
        spread_models(*agent.models)
    try:
        with asked_once(request_key(call), route.policy.timeout_s):
            response = await perform(app, call, asked, telling)
    except (ai.AgentRunError, ai.UserError) as error:
        raise meaning(error, by) from error
    if response is None:  # what it was told to drop is dropped
        return Reply(None, by)
    of = (response["model_name"], response.get("provider_name"), response.get("provider_url"))
    return Reply(response, by, await prices.usage(by, _counted(response["usage"]), *of))


async def perform(
    app: App, call: CallModel | CallTool, changes: Body | None = None, telling: TokenPublisher | None = None
) -> Any:
    operation, body = operation_of(app, call, streamed=telling is not None)
    params = operation.parameter_transport.load(body | (changes or {}), runtime=None)
    serve_as_current(call)
    with (
        durable_unit_scope(),
        events_handled_by(_hearer(params, telling)),
        _served(call, operation.operation_id),
    ):
        return operation.result_codec.dump(await operation.handler(params))


def _served(call: CallModel | CallTool, of: DurableOperationId) -> AbstractContextManager[None]:
    """The library for MCP is loaded by the first operation that may need it.

    A tool of a dynamic toolset may make several calls, which must not have one key.
    """
    kind = getattr(of, "toolset_kind", "mcp" if isinstance(of, ToolsetGetInstructionsId) else None)
    if kind not in ("mcp", "dynamic"):
        return nullcontext()
    from segue.streams.executors.mcp.agents import served

    return served(call.route, call.idempotency_key if kind == "mcp" else "")


def _hearer(params: Any, telling: TokenPublisher | None) -> EventStreamHandler[Any] | None:
    if telling is None or not isinstance(params, ModelRequestParams):
        return None
    return TextCollector(telling, params.model_request_parameters).hear_all


def operation_of(
    app: App, call: CallModel | CallTool, *, streamed: bool = False
) -> tuple[DurableOperation[Any, Body, Any], Body]:
    asked = call.agent
    assert asked is not None
    agent = app.agents.get(asked.agent)
    if agent is None:
        raise UnknownName(f"no agent {asked.agent!r} in app {app.name!r}: add it to its agents")
    operation = agent.get_durable_operation_backend().find(asked.operation, streamed=streamed)
    if operation is None:
        raise UnknownName(f"agent {asked.agent!r} has no operation {asked.operation!r} here")
    arguments = {"arguments": call.arguments} if isinstance(call, CallTool) else {}
    return operation, asked.body | arguments


def _counted(usage: Body) -> RequestUsage:
    """What the response says, in its JSON form."""
    counts: Body = {name: value for name, value in usage.items() if isinstance(value, int)}
    return RequestUsage(**counts)
