"""What an agent's operations are given, as JSON: who asks and who performs are processes apart.

Each transport is a pair: `dump` in the workflow, `load` in the stage. What Pydantic AI has a JSON form of
(messages, tool definitions, responses) travels in that form; the run's context as `DurableRunContext` has it.
An agent's dependencies travel by its `deps_type`, so they must be data: connections belong into tools.
"""

from collections.abc import Callable
from typing import Any, Generic, NoReturn, TypeVar, cast

from pydantic import ValidationError
from pydantic_ai.durable_exec import (
    JSON_CODEC,
    CapabilityMethodDeclaration,
    CapabilityOperationParams,
    DurabilityEngineSpec,
    DurableRunContext,
    DynamicToolsetCallToolParams,
    ModelCancelSuspendedResponseParams,
    ModelCompactMessagesParams,
    ModelRequestParams,
    ParameterTransport,
    ParameterTransports,
    ToolsetCallToolParams,
    ToolsetGetToolsParams,
    revalidate_function_call,
)
from pydantic_ai.messages import ModelMessage, ModelResponse
from pydantic_ai.models import Model, ModelRequestContext, ModelRequestParameters
from pydantic_ai.tools import RunContext, ToolDefinition
from pydantic_ai.toolsets import AbstractToolset, DynamicToolset, FunctionToolset
from pydantic_ai.toolsets.function import FunctionToolsetTool
from pydantic_core import to_jsonable_python

from segue.processors.payloads.values import Values, adapter_for, jsonable, values_of
from segue.topics.codec import describe
from segue.topics.descriptions import text_of
from segue.topics.errors import BadInput, Permanent

P = TypeVar("P")
Body = dict[str, Any]

SPEC = DurabilityEngineSpec(
    engine_name="Segue",
    durable_unit_noun="step",
    durable_container_noun="workflow",
    codec=JSON_CODEC,
    serialization_failure=lambda error: Permanent(f"it has no JSON: {error}"),
    unsupported_runtime_toolset_kinds=frozenset({"function", "mcp", "dynamic"}),
    toolset_lifecycles={
        "function": "enter-outside-durable",
        "mcp": "enter-outside-durable",
        "dynamic": "enter-never",
    },
)


class Transport(ParameterTransport[P, Body], Generic[P]):
    def __init__(self, dump: Callable[[P], Body], load: Callable[[Body], P]) -> None:
        self._dump = dump
        self._load = load

    def dump(self, params: P) -> Body:
        return self._dump(params)

    def load(self, payload: Body, *, runtime: object) -> P:
        return self._load(payload)


class Transports(ParameterTransports):
    """`agent` gives the agent of this process, once it is bound."""

    def __init__(self, agent: Callable[[], Any]) -> None:
        self._agent = agent

    # ------------------------------------------------------------ the run's context

    def _context(self, ctx: RunContext[Any]) -> Body:
        agent = self._agent()
        try:
            deps = _deps(agent, ctx.deps)
            return {"context": to_jsonable_python(DurableRunContext.serialize_run_context(ctx)), "deps": deps}
        except (ValueError, TypeError, BadInput) as error:
            raise BadInput(
                f"agent {agent.name!r}: its deps or metadata can't be sent as JSON: {text_of(error)}"
            ) from error

    def _ctx(self, body: Body) -> RunContext[Any]:
        agent = self._agent()
        deps = _values_of(agent.deps_type).read_data(body["deps"])
        return DurableRunContext[Any].restore(body["context"], deps=deps, agent=agent, engine_spec=SPEC)

    # ------------------------------------------------------------ models

    def model_request(self, result_type: object) -> Transport[ModelRequestParams]:
        def dump(params: ModelRequestParams) -> Body:
            return self._context(params.run_context) | {"model": params.model_id} | _conversation(params)

        def load(body: Body) -> ModelRequestParams:
            return ModelRequestParams(body["model"], run_context=self._ctx(body), **_spoken(body))

        return Transport(dump, load)

    def compact_messages(self) -> Transport[ModelCompactMessagesParams]:
        def dump(params: ModelCompactMessagesParams) -> Body:
            asked = params.request_context
            more = {
                "model": params.model_id,
                "streaming": asked.streaming,
                "instructions": params.instructions,
            }
            return self._context(params.run_context) | more | _conversation(asked)

        def load(body: Body) -> ModelCompactMessagesParams:
            unset = cast("Model", None)  # whoever performs it sets the model
            asked = ModelRequestContext(model=unset, **_spoken(body))
            asked.model_id, asked.streaming = body["model"], body["streaming"]
            return ModelCompactMessagesParams(
                body["model"],
                request_context=asked,
                instructions=body["instructions"],
                run_context=self._ctx(body),
            )

        return Transport(dump, load)

    def cancel_suspended_response(self) -> Transport[ModelCancelSuspendedResponseParams]:
        def dump(params: ModelCancelSuspendedResponseParams) -> Body:
            assert params.run_context is not None
            response = JSON_CODEC.dump(ModelResponse, params.response)
            return self._context(params.run_context) | {"model": params.model_id, "response": response}

        def load(body: Body) -> ModelCancelSuspendedResponseParams:
            response = JSON_CODEC.load(ModelResponse, body["response"])
            return ModelCancelSuspendedResponseParams(
                body["model"], response=response, run_context=self._ctx(body)
            )

        return Transport(dump, load)

    # ------------------------------------------------------------ tools

    def function_call(self, toolset: FunctionToolset[Any]) -> Transport[ToolsetCallToolParams]:
        def dump(params: ToolsetCallToolParams) -> Body:
            body = self._call(params)
            original = params.tool.original_name if isinstance(params.tool, FunctionToolsetTool) else None
            return body | {"original": original}

        def load(body: Body) -> ToolsetCallToolParams:
            ctx = self._ctx(body)
            definition = JSON_CODEC.load(ToolDefinition, body["tool"])
            try:
                tool = toolset.tool_for_tool_def(definition, ctx=ctx, original_name=body["original"])
            except KeyError:
                raise Permanent(f"the agent's code has no tool {body['name']!r} any more") from None
            return ToolsetCallToolParams(body["name"], tool_args=body["arguments"], ctx=ctx, tool=tool)

        return Transport(dump, load)

    async def prepare_function_call(
        self, toolset: FunctionToolset[Any], params: ToolsetCallToolParams
    ) -> ToolsetCallToolParams:
        return await revalidate_function_call(toolset, params, engine_spec=SPEC)

    def mcp_call(self, toolset: AbstractToolset[Any]) -> Transport[ToolsetCallToolParams]:
        def load(body: Body) -> ToolsetCallToolParams:
            ctx = self._ctx(body)
            definition = JSON_CODEC.load(ToolDefinition, body["tool"])
            tool = cast("Any", toolset).tool_for_tool_def(definition, ctx=ctx)
            return ToolsetCallToolParams(body["name"], tool_args=body["arguments"], ctx=ctx, tool=tool)

        return Transport(self._call, load)

    def _call(self, params: ToolsetCallToolParams) -> Body:
        assert params.tool is not None
        return self._context(params.ctx) | {
            "name": params.name,
            "arguments": jsonable(params.tool_args),
            "tool": JSON_CODEC.dump(ToolDefinition, params.tool.tool_def),
        }

    def dynamic_call(self, toolset: DynamicToolset[Any]) -> Transport[DynamicToolsetCallToolParams]:
        def dump(params: DynamicToolsetCallToolParams) -> Body:
            return self._context(params.ctx) | {
                "name": params.name,
                "arguments": jsonable(params.tool_args),
                "tool": JSON_CODEC.dump(ToolDefinition | None, params.tool_def),
            }

        def load(body: Body) -> DynamicToolsetCallToolParams:
            definition = JSON_CODEC.load(ToolDefinition | None, body["tool"])
            return DynamicToolsetCallToolParams(
                body["name"], tool_args=body["arguments"], ctx=self._ctx(body), tool_def=definition
            )

        return Transport(dump, load)

    # ------------------------------------------------------------ listings

    def get_tools(self, toolset: AbstractToolset[Any]) -> Transport[ToolsetGetToolsParams]:
        return Transport(
            lambda params: self._context(params.ctx), lambda body: ToolsetGetToolsParams(self._ctx(body))
        )

    def get_instructions(self, toolset: AbstractToolset[Any]) -> Transport[ToolsetGetToolsParams]:
        return self.get_tools(toolset)

    def dynamic_get_tools(self, toolset: DynamicToolset[Any]) -> Transport[ToolsetGetToolsParams]:
        return self.get_tools(toolset)

    # ------------------------------------------------------------ what is no step

    def event_stream_handler(self) -> Transport[Any]:
        return _refused("an event stream handler")

    def workspace_call(self) -> Transport[Any]:
        return _refused("a workspace")

    # ------------------------------------------------------------ what other capabilities declare

    def capability_operation(
        self, declaration: CapabilityMethodDeclaration
    ) -> Transport[CapabilityOperationParams]:
        def dump(params: CapabilityOperationParams) -> Body:
            arguments = jsonable(params.arguments)
            return self._context(params.run_context) | {"arguments": arguments, "model": params.model_id}

        def load(body: Body) -> CapabilityOperationParams:
            return CapabilityOperationParams(
                self._ctx(body), arguments=body["arguments"], model_id=body["model"]
            )

        return Transport(dump, load)


def _values_of(deps_type: Any) -> Values[Any]:
    return values_of(adapter_for(deps_type))


def _deps(agent: Any, deps: Any) -> Any:
    """Their JSON. Raises `BadInput` if a tool would get another type than the run was given."""
    values = _values_of(agent.deps_type)
    dumped = values.write_as_given(deps)
    try:
        read: object = values.read_data(dumped)
    except ValidationError as error:
        raise BadInput(
            f"agent {agent.name!r}: its deps do not have the type of deps_type: {describe(error)}"
        ) from None
    arrives = type(read)
    if arrives is not type(deps):
        given = type(deps).__name__
        raise BadInput(
            f"agent {agent.name!r}: its tools would get deps of type {arrives.__name__}, not {given}, "
            "because deps are sent as JSON of its deps_type. Build the agent with Agent(…, "
            f"deps_type={given})"
        )
    return dumped


def _conversation(asked: ModelRequestParams | ModelRequestContext) -> Body:
    return {
        "messages": JSON_CODEC.dump(list[ModelMessage], asked.messages),
        "settings": _settings(asked.model_settings),
        "parameters": JSON_CODEC.dump(ModelRequestParameters, asked.model_request_parameters),
    }


def _settings(settings: Any) -> Any:
    try:
        return jsonable(settings)
    except BadInput as error:
        raise BadInput(
            f"an agent's model settings can't be sent as JSON: {error}: give timeout= in seconds, and "
            "other values as text"
        ) from None


def _spoken(body: Body) -> dict[str, Any]:
    return {
        "messages": JSON_CODEC.load(list[ModelMessage], body["messages"]),
        "model_settings": body["settings"],
        "model_request_parameters": JSON_CODEC.load(ModelRequestParameters, body["parameters"]),
    }


def _refused(what: str) -> Transport[Any]:
    def refuse(_: Any) -> NoReturn:
        raise BadInput(
            f"{what} of an agent can't be used in a workflow, because Segue can't make it a "
            "step yet: run the agent in a tool instead"
        )

    return Transport(refuse, refuse)
