"""What a durable agent asks of the world, by name: an await in the workflow, a command, a call in a stage.

An operation is bound once in each process, when the agent is built. Where the workflow runs, calling it
publishes a command (`Asked`); where the command arrives, the stage finds the same operation by its name.
"""

from collections.abc import Callable, Collection, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, Generic, Literal, TypeVar, cast

from pydantic_ai.agent import AbstractAgent
from pydantic_ai.durable_exec import (
    BoundDurableOperation,
    CapabilityOperationId,
    DurableOperation,
    DurableOperationConfig,
    DurableOperationId,
    JournalOperationNamer,
    ModelRequestId,
    OperationConfigRole,
    RegisteredOperationBackend,
    ToolsetCallToolId,
    ToolsetGetToolsId,
)
from pydantic_ai.toolsets import FunctionToolset
from pydantic_ai.toolsets.function import FunctionToolsetTool

from segue.processors.agents.model_requests import ModelParams, shape_of
from segue.processors.agents.serialization import Body, Transports
from segue.processors.payloads.blob import as_data
from segue.processors.payloads.fingerprint import fits
from segue.processors.payloads.type_adapters import Accept
from segue.processors.workflow.budget_guard import within_budget
from segue.processors.workflow.context import CURRENT_CONTEXT, ExecutionContext
from segue.processors.workflow.misuse import Asking
from segue.processors.workflow.state.step import Step
from segue.topics.errors import BadInput
from segue.topics.records import AgentOperation, CallModel, CallTool

P = TypeVar("P")
W = TypeVar("W")
R = TypeVar("R")

AnyAgent = AbstractAgent[Any, Any]


class Operations(RegisteredOperationBackend[bool]):
    """All operations of one agent, by the names under which they stand in records."""

    def __init__(self, name: str, inline: Collection[str], agent: Callable[[], AnyAgent | None]) -> None:
        super().__init__(
            namer=JournalOperationNamer(name),
            config=_OwnStep(inline),
            parameter_transports=Transports(agent),
        )
        self._name = name
        self._inline = inline
        self._agent = agent
        self._by_name: dict[str, DurableOperation[Any, Any, Any]] = {}

    def register(
        self, operation: DurableOperation[P, W, R], *, name: str, config: bool
    ) -> tuple[BoundDurableOperation[P, W, R], Sequence[Callable[..., object]]]:
        self._by_name[name] = operation
        return Asked(self._name, name, operation), ()

    def find(self, name: str, *, streamed: bool = False) -> DurableOperation[Any, Body, Any] | None:
        """With `streamed`, of a request to a model the one that streams: it takes and gives the same."""
        operation = self._by_name.get(name)
        if operation is None or not (streamed and isinstance(operation.operation_id, ModelRequestId)):
            return operation
        of = replace(operation.operation_id, streaming=True)
        return next(each for each in self._by_name.values() if each.operation_id == of)

    def names(self) -> Collection[str]:
        return self._by_name

    def tools(self) -> set[str]:
        """What the tool routes are named after."""
        names: set[str] = set()
        for operation in self._by_name.values():
            of = operation.operation_id
            if isinstance(of, ToolsetCallToolId) and of.toolset_kind == "function":
                names.update(_functions(self._agent(), of.toolset_id))
            elif (place := _place(of)) is not None:
                names.add(place)
        return names.difference(self._inline)


class _OwnStep(DurableOperationConfig[bool]):
    """Each operation is a step of its own, but for the tools that run inline."""

    def __init__(self, inline: Collection[str]) -> None:
        self._inline = inline

    def base(self, role: OperationConfigRole, *, operation_id: DurableOperationId) -> bool:
        return True

    def for_tool(
        self, role: OperationConfigRole, *, operation_id: DurableOperationId, tool: object, tool_name: str
    ) -> Literal[True, False]:
        return _declared_name(tool, tool_name) not in self._inline


class Asked(BoundDurableOperation[P, W, R], Generic[P, W, R]):
    """An operation as the workflow sees it: an await that becomes a command."""

    def __init__(self, agent: str, name: str, operation: DurableOperation[P, W, R]) -> None:
        self._agent = agent
        self._name = name
        self._operation = operation

    @property
    def operation(self) -> DurableOperation[P, W, R]:
        return self._operation

    async def __call__(self, params: P, *, config: object = None) -> R:
        context = CURRENT_CONTEXT.get()
        if self._agent not in context.registry.agent_names:
            raise BadInput(f"the app has no agent {self._agent!r}: add it with App(…, agents=[…])")
        if isinstance(params, ModelParams):
            asked = partial(self._request, context, params)
            return cast("R", await within_budget(context, self._agent, asked))
        with Asking(f"a call of agent {self._agent!r}"):
            step = self._call(context, params)
        return cast("R", await step.future)

    def _request(self, context: ExecutionContext, params: ModelParams) -> Step:
        """The fingerprint is of the conversation's shape: a prompt that was reworded since parks no task."""
        with Asking(f"a request of agent {self._agent!r}"):
            body = self._body(params)
            step = self._step(context, "model", self._agent, [self._name, shape_of(params)], body)
        route = context.registry.model_route(self._agent)
        facts = self._facts(context, step, params.model_id or route.names[0], body)
        of = self._operation.operation_id
        call = CallModel(**facts, stream=isinstance(of, ModelRequestId) and (of.streaming or route.stream))
        context.command("model-calls", step, call)
        return step

    def _call(self, context: ExecutionContext, params: Any) -> Step:
        of = self._operation.operation_id
        body = self._body(params)
        arguments = as_data(body.pop("arguments", {}))  # what a model wrote holds no reference
        place, tool = _place(of), getattr(params, "name", None)
        name = ".".join(filter(None, (place, tool or _listing(of))))
        declared = place or _declared_name(getattr(params, "tool", None), str(tool))
        route = context.registry.tool_route(f"{self._agent}.{declared}").name
        step = self._step(context, "tool", route, [self._name, tool, arguments], body)
        call = CallTool(**self._facts(context, step, name, body), arguments=arguments)
        context.command("tool-calls", step, call)
        return step

    def _body(self, params: Any) -> Body:
        """Of all operations, since `Transports` makes no other."""
        return cast("Body", self._operation.parameter_transport.dump(params))

    def _step(
        self, context: ExecutionContext, kind: Literal["model", "tool"], route: str, asked: Any, body: Body
    ) -> Step:
        given = fits(kind, route, body, context.large.held_bytes_max)
        step = context.step(kind, route, asked)
        step.size_bytes += len(given)
        step.accept = Accept(self._operation.result_codec.load)
        return step

    def _facts(self, context: ExecutionContext, step: Step, name: str, body: Body) -> dict[str, Any]:
        asked = AgentOperation(agent=self._agent, operation=self._name, name=name, body=body)
        return context.facts_of(step) | {"agent": asked}


def _place(of: DurableOperationId) -> str | None:
    """The toolset or capability of an operation; None for function tools, which are known by their names."""
    if isinstance(of, CapabilityOperationId):
        return of.capability_id
    if isinstance(of, ModelRequestId) or getattr(of, "toolset_kind", None) == "function":
        return None
    return getattr(of, "toolset_id", None)


def _declared_name(tool: object, name: str) -> str:
    """A function tool's name in the agent's code: its `prepare` may have given the model another."""
    return (tool.original_name if isinstance(tool, FunctionToolsetTool) else None) or name


def _listing(of: DurableOperationId) -> str:
    if isinstance(of, CapabilityOperationId):
        return of.operation
    return "list_tools" if isinstance(of, ToolsetGetToolsId) else "instructions"


def _functions(agent: AnyAgent | None, toolset_id: str) -> set[str]:
    assert agent is not None
    names: set[str] = set()
    for toolset in agent.toolsets:
        toolset.apply(
            lambda leaf: (
                names.update(leaf.tools)
                if isinstance(leaf, FunctionToolset) and leaf.id == toolset_id
                else None
            )
        )
    return names
