"""Pydantic AI agents inside of workflows: each model request and each tool call is a step of the task.

An agent runs in the workflow's own loop, as any code there: what it decides is replayed. What it asks of the
world (a request to its model, a call of a function tool or an MCP tool, the listing of a server's tools) is
asked for by a command like any other call, and performed by the same agent in the model's or tool's stage:

    agent.run(…) in conduct ─┬▶ model-calls ─▶ model   route `NAME`: its model, then the spares
                             └▶ tool-calls  ─▶ tool    routes `NAME.TOOL`, and `NAME.TOOLSET` for MCP servers

Outside of a workflow the agent is what it was. Imported only where there is an agent: Pydantic AI is large.
"""

import asyncio
from collections.abc import Callable, Collection, Mapping, Sequence
from datetime import datetime
from functools import partial
from typing import Any, Generic, Literal, TypeVar, cast

from pydantic_ai._utils import disable_threads
from pydantic_ai.agent import AbstractAgent, Agent
from pydantic_ai.capabilities.abstract import WrapRunHandler
from pydantic_ai.durable_exec import (
    BaseDurabilityCapability,
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
    conversation_id_from_run_id,
)
from pydantic_ai.messages import ToolCallPart
from pydantic_ai.models import Model
from pydantic_ai.run import AgentRunResult
from pydantic_ai.tools import AgentDepsT, DeferredToolRequests, DeferredToolResults, RunContext, ToolDenied
from pydantic_ai.toolsets import FunctionToolset

from processors.agent_parameters import SPEC, Body, Transports
from processors.agent_requests import ModelParams, as_asked, shape_of
from processors.budget import within_budget
from processors.choice import Chooser
from processors.fingerprint import fits
from processors.performance import PLAYING, Performance
from processors.preview import preview
from processors.routes import AgentTool, AnyRoute, ModelCandidate, ModelRoute, Policy, ToolRoute
from processors.step import Step
from topics.errors import BadInput
from topics.records import AgentOperation, CallModel, CallTool

P = TypeVar("P")
W = TypeVar("W")
R = TypeVar("R")


class Durable(BaseDurabilityCapability[AgentDepsT]):
    """Makes an agent durable: `Agent("openai:gpt-5-mini", name="guide", capabilities=[Durable()])`.

    `spares` are the models that are asked, in order, when the agent's own gives up by `policy`;
    `tool_policy` holds for its tools, and `policies` for some by their name, or by their toolset's id.
    `inline` names tools that run within the workflow, for all that they await is durable itself: a
    sub-agent, say. `approver` is who is asked, by a question of the task, whether a tool that needs
    approval may be called. `choose` puts its models into another order for each request: see
    `processors.choice`.
    """

    engine_spec = SPEC

    def __init__(
        self,
        *,
        spares: Sequence[ModelCandidate] = (),
        policy: Policy = Policy(),
        tool_policy: Policy = Policy(),
        policies: Mapping[str, Policy] | None = None,
        inline: Collection[str] = (),
        approver: str | None = None,
        choose: Chooser | None = None,
        name: str | None = None,
    ) -> None:
        instances = {s.model_name: cast("Model", s) for s in spares if not isinstance(s, str)}
        super().__init__(models=instances, name=name)
        self.spares = [s if isinstance(s, str) else s.model_name for s in spares]
        self.policy = policy
        self.tool_policy = tool_policy
        self.policies = dict(policies or {})
        self.inline = frozenset(inline)
        self.approver = approver
        self.choose = choose
        self._operations: Operations | None = None

    def _bind_to_agent(self, agent: AbstractAgent[AgentDepsT, Any]) -> None:
        self._operations = Operations(self)
        super()._bind_to_agent(agent)

    def get_durable_operation_backend(self) -> "Operations":
        assert self._operations is not None
        return self._operations

    # ------------------------------------------------------------ what the app declares for it

    def routes(self) -> list[AnyRoute]:
        """Its model, each of its function tools, each of its other toolsets."""
        asked = [self._own_model(), *self.spares]
        routes: list[AnyRoute] = [
            ModelRoute(self.name, cast("list[ModelCandidate]", asked), policy=self.policy, choose=self.choose)
        ]
        for name in sorted(self.get_durable_operation_backend().tools()):
            policy = self.policies.get(name, self.tool_policy)
            routes.append(ToolRoute(f"{self.name}.{name}", [AgentTool(f"{self.name}.{name}")], policy=policy))
        return routes

    def _own_model(self) -> str:
        own = self._models_by_id.get("default")
        return self.default_model_id or (own.model_id if own is not None else "default")

    # ------------------------------------------------------------ the run, within a workflow

    @property
    def in_durable_context(self) -> bool:
        return PLAYING.get(None) is not None

    def get_default_run_id(self) -> str | None:
        return PLAYING.get().task.uuid() if self.in_durable_context else None

    def get_default_conversation_id(self, run_id: str) -> str | None:
        return conversation_id_from_run_id(run_id) if self.in_durable_context else None

    def get_run_clock(self) -> Callable[[], datetime] | None:
        return PLAYING.get().task.now if self.in_durable_context else None

    def get_wrapper_model(self, model: Model) -> Model | None:
        return as_asked(model)

    async def wrap_run(self, ctx: RunContext[AgentDepsT], *, handler: WrapRunHandler) -> AgentRunResult[Any]:
        """Within a workflow there are no threads, and sleeping is the task's."""
        if not self.in_durable_context:
            return await handler()
        with disable_threads(), Agent.using_sleep(asyncio.sleep):
            return await super().wrap_run(ctx, handler=handler)

    async def handle_deferred_tool_calls(
        self, ctx: RunContext[AgentDepsT], *, requests: DeferredToolRequests
    ) -> DeferredToolResults | None:
        """Ask the approver, for each call at once, and wait for as long as it takes."""
        if self.approver is None or not self.in_durable_context or not requests.approvals:
            return None
        answers = await asyncio.gather(*map(self._approved, requests.approvals))
        decided = zip(requests.approvals, answers, strict=True)
        return DeferredToolResults(
            approvals={
                call.tool_call_id: True if yes else ToolDenied("The person who was asked refused the call.")
                for call, yes in decided
            }
        )

    async def _approved(self, call: ToolCallPart) -> bool:
        assert self.approver is not None
        text = f"May {self.name} call {call.tool_name} with {preview(call.args_as_dict())}?"
        return await PLAYING.get().task.ask(self.approver, text, options={"approve": True, "refuse": False})


def durable_of(agent: Any) -> Durable[Any]:
    """The capability that is bound to the agent."""
    durable = Durable[Any].from_agent(agent)
    if durable is None:
        raise BadInput(f"agent {agent.name!r} is not durable: build it with capabilities=[Durable()]")
    return durable


# ---------------------------------------------------------------- operations


class Operations(RegisteredOperationBackend[bool]):
    """All operations of one agent, by the names under which they stand in records."""

    def __init__(self, durable: Durable[Any]) -> None:
        super().__init__(
            namer=JournalOperationNamer(durable.name),
            config=_OwnStep(durable.inline),
            parameter_transports=Transports(lambda: durable.agent),
        )
        self._durable = durable
        self._by_name: dict[str, DurableOperation[Any, Any, Any]] = {}

    def register(
        self, operation: DurableOperation[P, W, R], *, name: str, config: bool
    ) -> tuple[BoundDurableOperation[P, W, R], Sequence[Callable[..., object]]]:
        self._by_name[name] = operation
        return Asked(self._durable.name, name, operation), ()

    def find(self, name: str) -> DurableOperation[Any, Body, Any] | None:
        return self._by_name.get(name)

    def names(self) -> Collection[str]:
        return self._by_name

    def tools(self) -> set[str]:
        """What the tool routes are named after."""
        names: set[str] = set()
        for operation in self._by_name.values():
            of = operation.operation_id
            if isinstance(of, ToolsetCallToolId) and of.toolset_kind == "function":
                names.update(_functions(self._durable.agent, of.toolset_id))
            elif (place := _place(of)) is not None:
                names.add(place)
        return names - self._durable.inline


class _OwnStep(DurableOperationConfig[bool]):
    """Each operation is a step of its own, but for the tools that run inline."""

    def __init__(self, inline: Collection[str]) -> None:
        self._inline = inline

    def base(self, role: OperationConfigRole, *, operation_id: DurableOperationId) -> bool:
        return True

    def for_tool(
        self, role: OperationConfigRole, *, operation_id: DurableOperationId, tool: object, tool_name: str
    ) -> Literal[True, False]:
        return tool_name not in self._inline


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
        performance = PLAYING.get()
        if self._agent not in performance.app.agents:
            raise BadInput(f"agent {self._agent!r} is unknown to the app: add it, App(…, agents=[…])")
        if isinstance(params, ModelParams):
            asked = partial(self._request, performance, params)
            return cast("R", await within_budget(performance, self._agent, asked))
        return cast("R", await self._call(performance, params).future)

    def _request(self, performance: Performance, params: ModelParams) -> Step:
        """The fingerprint is of the conversation's shape: a prompt that was reworded since parks no task."""
        body = self._body(params)
        step = self._step(performance, "model", self._agent, [self._name, shape_of(params)], body)
        name = params.model_id or performance.app.model_route(self._agent).names[0]
        call = CallModel(**self._facts(performance, step, name, body))
        performance.publish("model-calls", call)
        return step

    def _call(self, performance: Performance, params: Any) -> Step:
        of = self._operation.operation_id
        body = self._body(params)
        arguments = body.pop("arguments", {})
        place, tool = _place(of), getattr(params, "name", None)
        name = ".".join(filter(None, (place, tool or _listing(of))))
        route = performance.app.tool_route(f"{self._agent}.{place or tool}").name
        step = self._step(performance, "tool", route, [self._name, tool, arguments], body)
        call = CallTool(**self._facts(performance, step, name, body), arguments=arguments)
        performance.publish("tool-calls", call)
        return step

    def _body(self, params: Any) -> Body:
        """Of all operations, since `Transports` makes no other."""
        return cast("Body", self._operation.parameter_transport.dump(params))

    def _step(
        self, performance: Performance, kind: Literal["model", "tool"], route: str, asked: Any, body: Body
    ) -> Step:
        fits(kind, route, body)
        step = performance.step(kind, route, asked)
        step.accept = self._operation.result_codec.load
        return step

    def _facts(self, performance: Performance, step: Step, name: str, body: Body) -> dict[str, Any]:
        return {
            "task": performance.task_id,
            "step": step.number,
            "print": step.print,
            "workflow": performance.submitted.workflow,
            "route": step.name,
            "budget": performance.purse.left,
            "agent": AgentOperation(agent=self._agent, operation=self._name, name=name, body=body),
            "at_ms": performance.now_ms,
        }


def _place(of: DurableOperationId) -> str | None:
    """The toolset or capability of an operation; None for function tools, which are known by their names."""
    if isinstance(of, CapabilityOperationId):
        return of.capability_id
    if isinstance(of, ModelRequestId) or getattr(of, "toolset_kind", None) == "function":
        return None
    return getattr(of, "toolset_id", None)


def _listing(of: DurableOperationId) -> str:
    if isinstance(of, CapabilityOperationId):
        return of.operation
    return "list_tools" if isinstance(of, ToolsetGetToolsId) else "instructions"


def _functions(agent: AbstractAgent[Any, Any] | None, toolset_id: str) -> set[str]:
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
