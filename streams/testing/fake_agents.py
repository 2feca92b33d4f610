"""The tools of agents in a rehearsal: functions run for real, a server's tools are those of a stand-in."""

from typing import Any

from pydantic_ai.durable_exec import (
    DurableOperation,
    ToolsetCallToolId,
    ToolsetGetInstructionsId,
    ToolsetGetToolsId,
)
from pydantic_ai.durable_exec._toolset import wrap_tool_call_result
from pydantic_ai.toolsets import AbstractToolset

from segue.processors.agents.serialization import Body
from segue.processors.app.app import App
from segue.streams.executors.agent import operation_of, perform
from segue.streams.testing.fakes import StandIns
from segue.topics.records import CallTool

AnyOperation = DurableOperation[Any, Body, Any]


async def performed(app: App, call: CallTool, stand_ins: StandIns) -> Any:
    """The outcome of an agent's operation, in the JSON that Pydantic AI makes of it."""
    operation, body = operation_of(app, call)
    of = operation.operation_id
    kind = getattr(of, "toolset_kind", None)
    stands_in = stand_ins.find("tool", call.route, call.route) is not None
    if kind == "function" and stands_in and isinstance(of, ToolsetCallToolId):
        return operation.result_codec.dump(await wrap_tool_call_result(stand_ins.outcome(**call.arguments)))
    if kind == "mcp" or isinstance(of, ToolsetGetInstructionsId):
        return operation.result_codec.dump(await _performed(await stand_ins.outcome(), operation, body))
    return await perform(app, call)


async def _performed(toolset: AbstractToolset[Any], operation: AnyOperation, body: Body) -> Any:
    params = operation.parameter_transport.load(body, runtime=None)
    tools = await toolset.get_tools(params.ctx)
    match operation.operation_id:
        case ToolsetGetToolsId():
            return {name: tool.tool_def for name, tool in tools.items()}
        case ToolsetCallToolId():
            called = toolset.call_tool(params.name, params.tool_args, params.ctx, tools[params.name])
            return await wrap_tool_call_result(called)
        case _:
            return await toolset.get_instructions(params.ctx)
